import shlex
import subprocess
import sys

from pipeline import jobs


def test_jobs_run_this_interpreter_on_this_checkout():
    command = jobs.python(deployed=False).format()
    code = "import sys, dkd, pipeline; print(sys.executable, pipeline.ROOT, dkd.__file__)"
    done = subprocess.run(
        f"{command} -c {shlex.quote(code)}", shell=True, cwd="/", capture_output=True, text=True, check=True
    )
    executable, root, package = done.stdout.split()
    assert executable == sys.executable
    assert package.startswith(f"{root}/src/")


def test_a_deployed_environment_brings_its_own_interpreter():
    assert jobs.python(deployed=True).endswith(" python")
