"use strict";
// Every table: a button in each head sorts it, a field above it keeps the rows that hold its words.
document.querySelectorAll("table").forEach((table, index) => {
  const body = table.tBodies[0], rows = [...body.rows], heads = [...table.tHead.rows[0].cells];
  const text = (row, column) => row.cells[column].textContent.trim();
  const value = (row, column) => parseFloat(text(row, column).replaceAll(",", "").replace("∞", "Infinity"));
  // A column is of numbers where half its entries begin with one; what has none there stands last.
  const numeric = (column) =>
    2 * rows.filter((row) => !Number.isNaN(value(row, column))).length >= rows.length;
  const sort = (column, sign) => {
    const numbers = numeric(column);
    const keyed = rows.map((row) => [numbers ? value(row, column) : text(row, column), row]);
    keyed.sort(([a], [b]) => {
      if (!numbers) return sign * a.localeCompare(b);
      if (Number.isNaN(a) || Number.isNaN(b)) return Number.isNaN(a) - Number.isNaN(b);
      return a === b ? 0 : a < b ? -sign : sign;
    });
    body.append(...keyed.map(([, row]) => row));
  };
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.replaceChildren(button);
    head.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      heads.forEach((other) => other.setAttribute("aria-sort", "none"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      sort(column, up ? 1 : -1);
    });
  });
  if (rows.length < 4) return;
  const label = document.createElement("label"), input = document.createElement("input");
  const count = document.createElement("output");
  label.className = "filter";
  input.type = "search";
  input.id = "filter-" + index;
  input.setAttribute("aria-label", "Rows with, in: " + table.parentElement.getAttribute("aria-label"));
  label.append("Rows with ", input, " ", count);
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    rows.forEach((row) => {
      row.hidden = !words.every((word) => row.textContent.toLowerCase().includes(word));
    });
    count.textContent = rows.filter((row) => !row.hidden).length + " of " + rows.length + " rows";
  });
  table.parentElement.before(label);
});
