"""The types of what `import dkd` offers."""

from dkd.api import evaluate as evaluate
from dkd.api import load as load
from dkd.errors import InputError as InputError
from dkd.use.predict import Predictor as Predictor
