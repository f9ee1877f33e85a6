"use strict";
(() => {
  const form = document.getElementById("filters");
  const filtered = [...document.querySelectorAll("main [data-runs], main [data-method], main [data-class], main [data-classes], .legend [data-method]")];

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
        const value = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent.trim();
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
  const [words, image] = [dialog.querySelector("p"), dialog.querySelector("img")];
  const all = [...document.querySelectorAll(".tiles img")];
  let current = 0;
  function show(number) {
    current = number;
    image.src = all[number].src;
    image.alt = words.textContent = all[number].alt;
  }
  function go(by) {
    for (let k = 1; k <= all.length; k++) {
      const next = (current + by * k + all.length * k) % all.length;
      if (!all[next].closest("[hidden]")) return show(next);
    }
  }
  all.forEach((each, number) => each.closest("button").addEventListener("click", () => { show(number); dialog.showModal(); }));
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
    if (event.target.dataset.go) go(Number(event.target.dataset.go));
  });
  dialog.addEventListener("keydown", (event) => {
    if (event.key === "ArrowRight") go(1);
    if (event.key === "ArrowLeft") go(-1);
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
