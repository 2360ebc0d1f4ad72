"use strict";
(() => {
  const root = document.documentElement;
  const button = document.getElementById("theme");
  const names = { auto: "system", light: "light", dark: "dark" };
  let theme = "auto";
  const keep = (value) => { try { localStorage.setItem("theme", value); } catch { /* a page opened from a file may not */ } };
  const show = (value) => {
    theme = names[value] ? value : "auto";
    if (theme === "auto") root.removeAttribute("data-theme");
    else root.dataset.theme = theme;
    button.lastElementChild.textContent = names[theme];
  };
  try { show(localStorage.getItem("theme") || "auto"); } catch { show("auto"); }
  button.hidden = false;
  button.addEventListener("click", () => {
    const dark = matchMedia("(prefers-color-scheme: dark)").matches;
    const turns = dark ? ["auto", "light", "dark"] : ["auto", "dark", "light"];
    show(turns[(turns.indexOf(theme) + 1) % 3]);
    keep(theme);
  });

  const key = (row, place, numeric) => {
    const value = row.cells[place].dataset.v;
    if (value === "") return null;
    return numeric ? Number(value) : value.toLowerCase();
  };
  const sort = (table, place) => {
    const head = table.tHead.rows[0].cells[place];
    const numeric = head.classList.contains("n");
    const first = numeric && head.dataset.up !== "1" ? "descending" : "ascending";
    const other = first === "ascending" ? "descending" : "ascending";
    const now = head.getAttribute("aria-sort") === first ? other : first;
    for (const cell of table.tHead.rows[0].cells) cell.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", now);
    const sign = now === "ascending" ? 1 : -1;
    const rows = [...table.tBodies[0].rows].map((row) => [key(row, place, numeric), row]);
    rows.sort(([a], [b]) => {
      if (a === null || b === null) return (a === null) - (b === null);
      return sign * (numeric ? a - b : a.localeCompare(b, undefined, { numeric: true }));
    });
    table.tBodies[0].append(...rows.map(([, row]) => row));
  };
  for (const table of document.querySelectorAll("table.sorts")) {
    [...table.tHead.rows[0].cells].forEach((head, place) => {
      head.querySelector("button").addEventListener("click", () => sort(table, place));
    });
  }
  for (const input of document.querySelectorAll("input.find")) {
    const table = document.getElementById(input.dataset.table);
    input.hidden = false;
    input.addEventListener("input", () => {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      for (const row of table.tBodies[0].rows) {
        const text = row.textContent.toLowerCase();
        row.hidden = !words.every((word) => text.includes(word));
      }
    });
  }
})();
