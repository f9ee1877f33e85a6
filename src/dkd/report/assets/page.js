"use strict";
(() => {
  const form = document.getElementById("filters");
  const filtered = [...document.querySelectorAll("main [data-runs], main [data-method], main [data-class], main [data-classes], .legend [data-method]")];
  const drawn = [...document.querySelectorAll("svg[role] [data-method]")];

  function filter() {
    const want = Object.fromEntries(new FormData(form));
    for (const each of filtered) {
      const { runs, method, class: name, classes } = each.dataset;
      const shown = (!want.run || runs === undefined || runs.split(" ").includes(want.run)) &&
        (!want.method || method === undefined || method === want.method) &&
        (!want.class || name === undefined || name === want.class) &&
        (!want.class || classes === undefined || classes.split("|").includes(want.class));
      each.toggleAttribute("hidden", !shown);
    }
  }
  form.addEventListener("input", filter);
  form.addEventListener("reset", () => setTimeout(filter));
  form.addEventListener("submit", (event) => event.preventDefault());
  // A browser may have kept the choice from before a reload.
  filter();

  // Curves and bars of other methods fade while a method is pointed at.
  function stress(event) {
    const method = event.target.closest?.("svg[role] [data-method], .legend [data-method]")?.dataset.method;
    drawn.forEach((each) => each.classList.toggle("faded", method !== undefined && each.dataset.method !== method));
  }
  document.addEventListener("pointerover", stress);
  document.addEventListener("focusin", stress);
  document.addEventListener("focusout", () => stress({ target: document }));

  for (const part of document.querySelectorAll(".differences")) {
    const baseline = part.querySelector("select");
    const choose = () => part.querySelectorAll("[data-than]").forEach((row) => {
      row.classList.toggle("other", row.dataset.than !== baseline.value);
    });
    baseline.addEventListener("change", choose);
    choose();
  }

  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = head.textContent;
      head.replaceChildren(button);
      button.addEventListener("click", () => {
        const down = head.getAttribute("aria-sort") === "ascending";
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        // A run that is not finished has one cell in the place of its numbers.
        const value = (row) => row.cells[column]?.dataset.value ?? row.cells[column]?.textContent.trim() ?? "";
        const rows = [...table.tBodies[0].rows];
        rows.sort((a, b) => {
          const [x, y] = [value(a), value(b)];
          // Missing values come last in both directions.
          if (x === "" || y === "") return (x === "") - (y === "");
          const order = isNaN(x) || isNaN(y) ? x.localeCompare(y) : x - y;
          return down ? -order : order;
        });
        table.tBodies[0].append(...rows);
      });
    });
  }

  const dialog = document.getElementById("large");
  const [words, image, evidence] = [".words", "img", ".evidence"].map((name) => dialog.querySelector(name));
  const all = [...document.querySelectorAll(".tiles img")];
  const blank = { cells: [1, 1], labels: [] };
  // The image that is shown, what is known of its evidence, the bytes of its maps, and a place from 0 to 1.
  let [current, facts, bytes, place] = [0, blank, null, [0.5, 0.5]];
  image.addEventListener("load", () => image.style.setProperty("--ratio", image.naturalWidth / image.naturalHeight));
  function show(number) {
    current = number;
    image.src = all[number].src;
    image.alt = words.textContent = all[number].alt;
    const { evidence: text, maps } = all[number].dataset;
    [facts, bytes] = [text ? JSON.parse(text) : blank, null];
    evidence.hidden = !text;
    dialog.querySelector(".place").classList.toggle("chosen", Boolean(text));
    if (!text) return;
    const sheet = new Image();
    sheet.addEventListener("load", () => { if (number === current) read(sheet); });
    sheet.src = maps;
  }
  function read(sheet) {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [sheet.naturalWidth, sheet.naturalHeight];
    const context = canvas.getContext("2d");
    context.drawImage(sheet, 0, 0);
    bytes = context.getImageData(0, 0, canvas.width, canvas.height).data.filter((value, k) => k % 4 === 0);
    evidence.querySelector("tbody").replaceChildren(...facts.names.map((name, k) => line(name, k)));
    evidence.querySelector("small").textContent = `Shown: ${facts.words}. Values are rounded to 1/255 of the largest.`;
    look(...place);
  }
  // Byte of class k, of z+ (side 0) or z- (side 1), at a cell.
  const byte = (k, side, x, y) => bytes[((k * facts.cells[0] + y) * 2 + side) * facts.cells[1] + x];
  // The cells on both sides of a place from 0 to 1, and the share of the second one, as the network resizes its grid.
  function beside(place, cells) {
    const at = Math.min(Math.max(place * cells - .5, 0), cells - 1);
    return [Math.floor(at), Math.min(Math.floor(at) + 1, cells - 1), at % 1];
  }
  function between(k, side) {
    const [[left, right, x], [upper, lower, y]] = [beside(place[0], facts.cells[1]), beside(place[1], facts.cells[0])];
    const along = (row) => (1 - x) * byte(k, side, left, row) + x * byte(k, side, right, row);
    return (1 - y) * along(upper) + y * along(lower);
  }
  function line(name, k) {
    const row = document.createElement("tr");
    row.append(document.createElement("th"), ...["", "", "", ""].map(() => document.createElement("td")));
    row.cells[0].textContent = name;
    [[0, 114, 178], [213, 94, 0]].forEach((colour, side) => {
      const [map, box, value] = ["canvas", "span", "span"].map((kind) => document.createElement(kind));
      [map.height, map.width] = facts.cells;
      const context = map.getContext("2d");
      const pixels = context.createImageData(map.width, map.height);
      for (let y = 0, at = 0; y < map.height; y++) for (let x = 0; x < map.width; x++, at += 4) {
        pixels.data.set([...colour, byte(k, side, x, y)], at);
      }
      context.putImageData(pixels, 0, 0);
      box.className = "place chosen";
      box.append(map, document.createElement("i"));
      row.cells[1 + side].append(box, value);
    });
    return row;
  }
  // Values at a place, the class with the highest logit first.
  function look(x, y) {
    place = [x, y].map((each) => Math.min(Math.max(each, 0), 1));
    dialog.style.setProperty("--x", `${100 * place[0]}%`);
    dialog.style.setProperty("--y", `${100 * place[1]}%`);
    if (!bytes) return;
    const body = evidence.querySelector("tbody");
    const logits = new Map([...body.rows].map((row) => {
      const k = facts.names.indexOf(row.cells[0].textContent);
      const terms = facts.ends.map((end, side) => between(k, side) / 255 * end);
      const logit = terms[0] + terms[1] + facts.biases[k];
      terms.forEach((term, side) => { row.cells[1 + side].lastChild.textContent = term.toFixed(2); });
      row.cells[3].textContent = facts.biases[k].toFixed(2);
      row.cells[4].textContent = logit.toFixed(2);
      return [row, logit];
    }));
    body.append(...[...body.rows].sort((a, b) => logits.get(b) - logits.get(a)));
    const [left, above] = place.map((each) => Math.round(100 * each));
    evidence.querySelector("caption").textContent = `${left}% from the left, ${above}% from above`;
  }
  const within = (event, box) => [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  function go(by) {
    for (let k = 1; k <= all.length; k++) {
      const next = (current + by * k + all.length * k) % all.length;
      if (!all[next].closest("[hidden]")) return show(next);
    }
  }
  all.forEach((each, number) => each.closest("button").addEventListener("click", (event) => {
    // Of a key press there is no place.
    if (event.detail) place = within(event, each.getBoundingClientRect());
    show(number);
    look(...place);
    dialog.showModal();
  }));
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
    const box = event.target.closest(".chosen");
    if (box) look(...within(event, box.getBoundingClientRect()));
    if (event.target.dataset.go) go(Number(event.target.dataset.go));
  });
  dialog.addEventListener("keydown", (event) => {
    const by = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] }[event.key];
    if (!by) return;
    if (event.shiftKey) {
      event.preventDefault();
      look(place[0] + by[0] / facts.cells[1], place[1] + by[1] / facts.cells[0]);
    } else if (by[0]) go(by[0]);
  });

  // A link to a node opens its details.
  function unfold() {
    const target = location.hash && document.getElementById(location.hash.slice(1));
    if (target && target.matches("details")) target.open = true;
  }
  addEventListener("hashchange", unfold);
  unfold();
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details:not(.node):not([open])")];
    opened.forEach((each) => { each.open = true; });
  });
  addEventListener("afterprint", () => opened.forEach((each) => { each.open = false; }));
})();
