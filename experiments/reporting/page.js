"use strict";
// Every table: a button in each head sorts it, a field above it keeps the rows that hold its words.
document.querySelectorAll("table").forEach((table, index) => {
  if (![...table.tHead.rows[0].cells].some((head) => head.textContent.trim())) {
    table.classList.add("texts"); // answers side by side: there is nothing to sort by
    return;
  }
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

// Every figure: its panels drawn in the page's colours, a box a curve to show and hide it.
const INKS = ["ink", "soft", "band", "paper"];
const drawn = [...document.querySelectorAll("figure.drawn")].map((figure) => ({
  parts: JSON.parse(figure.querySelector("script").textContent),
  panels: [...figure.querySelectorAll(".panel")],
  boxes: [...figure.querySelectorAll("fieldset input")],
}));
const page = (name) => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
const coloured = (part) => {
  const inks = Object.fromEntries(INKS.map((name) => [name, page(name)]));
  return JSON.parse(JSON.stringify(part), (_, value) => (typeof value === "string" && inks[value]) || value);
};
const layout = (own) => {
  const line = page("line"), ink = page("ink");
  const axis = (given) => ({ gridcolor: line, zeroline: false, exponentformat: "power", automargin: true,
    dtick: given.type === "log" && !given.tickvals ? 1 : undefined, linecolor: line, ...given,
    title: { font: { size: 12 }, ...given.title } });
  return { ...own, xaxis: axis(own.xaxis), yaxis: axis(own.yaxis), showlegend: false, hovermode: "closest",
    font: { family: "system-ui, sans-serif", size: 12, color: ink }, margin: { l: 56, r: 12, t: 30, b: 44 },
    modebar: { bgcolor: "rgba(0,0,0,0)", color: page("soft"), activecolor: ink },
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    hoverlabel: { bgcolor: page("paper"), font: { color: ink } } };
};
const options = { responsive: true, displaylogo: false, plotlyServerURL: "",
  modeBarButtons: [["toImage", "zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "resetScale2d"]] };
const draw = () => drawn.forEach(({ parts, panels, boxes }) => {
  const hidden = new Set(boxes.filter((box) => !box.checked).map((box) => box.value));
  parts.forEach((part, i) => {
    const [data, own] = coloured(part);
    data.forEach((trace) => { trace.visible = !hidden.has(trace.name); });
    Plotly.react(panels[i], data, layout(own), options);
  });
});
drawn.forEach(({ boxes }) => boxes.forEach((box) => box.addEventListener("change", draw)));
draw();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
matchMedia("print").addEventListener("change", draw);
