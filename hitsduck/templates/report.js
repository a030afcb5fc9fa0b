"use strict";
// Draws the charts, and makes the tables sortable and copyable. Asks no server.
(async () => {
  const specs = JSON.parse(document.getElementById("charts").textContent);
  for (const holder of document.querySelectorAll(".chart[data-chart]")) {
    const spec = specs[holder.dataset.chart];
    try {
      const { view } = await vegaEmbed(holder, spec, {
        mode: "vega-lite",
        renderer: "svg",
        actions: { export: true, source: false, compiled: false, editor: false },
        downloadFileName: holder.dataset.chart,
        tooltip: { theme: "custom" },
      });
      addPickers(holder, spec, view);
      holder.dataset.drawn = "yes";
    } catch (error) {
      holder.textContent = "This chart could not be drawn: " + error.message;
      console.error(error);
    }
  }
  document.documentElement.dataset.drawn = "yes";
})();

// What a click on a mark selects, a list selects from the keyboard; each shows what the other did.
const pickerWords = { zone: "Distance to the edge (px)", detector: "Detector", field: "Field" };

function addPickers(holder, spec, view) {
  const params = (spec.params ?? []).filter((param) => param.name.startsWith("picked_"));
  if (!params.length) return;
  const group = document.createElement("div");
  group.className = "pickers";
  group.setAttribute("role", "group");
  group.setAttribute("aria-label", "Show only");
  const fieldOf = (param) => param.name.slice("picked_".length);
  const rows = Object.values(spec.datasets).find((data) =>
    data.length && params.every((param) => fieldOf(param) in data[0]));
  const lists = params.map((param) => {
    const field = fieldOf(param);
    const values = [...new Set(rows.map((row) => row[field]))].sort((a, b) =>
      String(a).localeCompare(String(b), undefined, { numeric: true }));
    const list = document.createElement("select");
    list.name = field;
    list.append(new Option("all", ""), ...values.map((value, at) => new Option(value, at)));
    const store = param.name + "_store";
    list.addEventListener("change", () => {
      // As a click leaves it, so that a click can take it away.
      const picked = list.value === "" ? [] : [{
        unit: param.views[0],
        fields: [{ type: "E", field }],
        values: [values[list.value]],
      }];
      view.data(store, picked).runAsync();
    });
    view.addDataListener(store, (_, picked) => {
      list.value = picked.length === 1 ? values.indexOf(picked[0].values[0]) : "";
    });
    const label = document.createElement("label");
    label.append(`${pickerWords[field] ?? field} `, list);
    return [label, list];
  });
  const all = document.createElement("button");
  all.type = "button";
  all.textContent = "Show all";
  all.addEventListener("click", () => {
    for (const [, list] of lists) {
      list.value = "";
      list.dispatchEvent(new Event("change"));
    }
  });
  group.append(...lists.map(([label]) => label), all);
  holder.after(group);
}

const valueOf = (row, column) => {
  const cell = row.cells[column];
  return cell.dataset.value ?? cell.textContent.trim();
};

const isNumber = (text) => text !== "" && !Number.isNaN(Number(text));

const compareCells = (a, b) => {
  // What is not known ("-") comes before any number.
  if (isNumber(a) !== isNumber(b)) return isNumber(a) ? 1 : -1;
  return isNumber(a) ? Number(a) - Number(b) : a.localeCompare(b);
};

const copied = (cell) =>
  cell.dataset.copy ?? cell.dataset.value ?? cell.innerText.trim().replace(/\s*\n\s*/g, "; ");

const tableText = (table) =>
  [...table.rows].map((row) => [...row.cells].map(copied).join("\t")).join("\n");

const copyText = async (text) => {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
};

for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "sort";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const rows = [...table.tBodies[0].rows];
      rows.sort((a, b) => compareCells(valueOf(a, column), valueOf(b, column)));
      if (down) rows.reverse();
      table.tBodies[0].append(...rows);
    });
  });
}

// On paper nothing can be unfolded.
const folded = [];
window.addEventListener("beforeprint", () => {
  folded.push(...document.querySelectorAll("main details:not([open])"));
  for (const details of folded) details.open = true;
});
window.addEventListener("afterprint", () => {
  for (const details of folded.splice(0)) details.open = false;
});

for (const table of document.querySelectorAll("table")) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "copy";
  button.textContent = "Copy table";
  button.addEventListener("click", async () => {
    await copyText(tableText(table));
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy table"; }, 1500);
  });
  table.closest(".scroll").after(button);
}
