"use strict";
// Draws one stop of the data at a time. Text of the program is only ever put in place as text, never as markup.

const film = JSON.parse(document.getElementById("data").textContent);
const get = (id) => document.getElementById(id);
let at = 0;

function make(tag, look, ...inside) {
  const made = document.createElement(tag);
  if (look) made.className = look;
  made.append(...inside.filter((part) => part !== null && part !== ""));
  return made;
}

function fill(id, ...inside) {
  get(id).replaceChildren(...inside.filter((part) => part !== null));
}

function drawHead(stop) {
  const parts = [make("span", stop.when ? "badge past" : "badge", stop.when || "backpropdbg")];
  parts.push(make("span", "", stop.program), make("span", "", `iteration ${stop.iteration}`));
  parts.push(make("span", "phase", stop.phase), make("span", "where", stop.name));
  if (stop.loss) parts.push(make("span", stop.odd ? "bad" : "", `loss ${stop.loss}`));
  if (stop.seed !== null) parts.push(make("span", "", `seed ${stop.seed}`));
  if (stop.optimizer) parts.push(make("span", "", stop.optimizer));
  fill("head", ...parts);
  document.body.classList.toggle("past", Boolean(stop.when));
}

function drawCaption(stop, number) {
  const told = `stop ${number + 1} of ${film.stops.length}: ${stop.phase}, ${stop.name}. ${stop.explanation.join(" ")}`;
  const before = number === 0 ? film.before : [];
  const said = [...before, ...stop.remarks].filter(([kind]) => kind === "say");
  fill("caption", make("div", "hidden", told), ...said.map(([, , text]) => make("p", "", text)));
}

// Brings a part of a pane into its middle, where the pane scrolls; the page itself stays where it is.
function reveal(pane, part) {
  pane.scrollLeft = pane.scrollTop = 0;
  if (!part) return;
  const [inner, outer] = [part.getBoundingClientRect(), pane.getBoundingClientRect()];
  if (inner.right > outer.right) pane.scrollLeft = inner.left + inner.width / 2 - outer.left - outer.width / 2;
  if (inner.bottom > outer.bottom) pane.scrollTop = inner.top + inner.height / 2 - outer.top - outer.height / 2;
}

function graphCell(level, way) {
  const cell = make("td", "");
  level.nodes.forEach((node, n) => {
    const state = node[way];
    const name = state === "here" ? `[${node.label}]` : node.label;
    const part = make("span", state, name);
    if (state === "here") part.setAttribute("aria-current", "step");
    part.title = `${node.label}: ${way === "fwd" ? "forward" : "backward"} ${state}`;
    cell.append(n ? " | " : "", part);
  });
  if (level.more) cell.append(make("span", "dim", ` and ${level.more} more`));
  return cell;
}

function graphLine(graph, way, arrow) {
  const line = make("tr", "", make("th", "", way));
  line.firstChild.scope = "row";
  if (graph.before) line.append(make("td", "arrow", `${graph.before} more ${arrow}`));
  graph.levels.forEach((level, n) => {
    if (n) line.append(make("td", "arrow", arrow));
    line.append(graphCell(level, way));
  });
  if (graph.after) line.append(make("td", "arrow", `${arrow} ${graph.after} more`));
  return line;
}

function partials(graph) {
  const line = make("tr", "", make("th", "", "grad"));
  if (graph.before) line.append(make("td", ""));
  graph.levels.forEach((level, n) => {
    if (n) line.append(make("td", ""));
    const own = level.nodes.filter((node) => node.partial);
    line.append(make("td", "", ...own.map((node) => make("span", node.known ? "done" : "pending", `${node.partial} `))));
  });
  return line;
}

function drawGraph(graph) {
  const lines = [graphLine(graph, "fwd", "->"), graphLine(graph, "bwd", "<-"), partials(graph)];
  const pane = get("graph");
  pane.hidden = graph.levels.length === 0;
  pane.replaceChildren(make("table", "", make("tbody", "", ...lines)));
  reveal(pane, pane.querySelector(".here"));
}

// Where the style makes no table of it, it is still read as one.
function withRoles(line, role) {
  line.setAttribute("role", "row");
  for (const one of line.children) one.setAttribute("role", role);
  return line;
}

function ledgerRow(row) {
  const absent = row.state !== "value";
  const bold = row.here || row.kind === "running" || row.kind === "grad";
  const look = [absent && !row.here ? "absent" : "", bold ? "bold" : "", row.kind === "running" ? "sum" : ""].join(" ");
  const term = `${row.here ? "> " : "  "}${row.term}${row.detail ? "  " + row.detail : ""}`;
  const line = make("tr", look, make("td", "term", term), make("td", "", row.norm), make("td", "", row.cosine));
  line.append(make("td", row.way, row.element), make("td", "note", row.note));
  if (row.here) line.setAttribute("aria-current", "true");
  return withRoles(line, "cell");
}

function drawLedger(ledger, optimizer) {
  const title = make("h2", "", ledger.title || "no parameter is in focus", " ", make("small", "", ledger.shape));
  const names = ["  term", "norm", ledger.cosine, ledger.element, ""].map((name) => make("th", "", name));
  names.forEach((name) => { name.scope = "col"; });
  const body = make("tbody", "", ...ledger.rows.map(ledgerRow));
  if (ledger.update.length) {
    const words = make("td", "", `update, ${optimizer}`);
    words.colSpan = 5;
    body.append(withRoles(make("tr", "heading", words), "cell"), ...ledger.update.map(ledgerRow));
  }
  const table = make("table", "", make("thead", "", withRoles(make("tr", "", ...names), "columnheader")), body);
  table.setAttribute("role", "table");
  fill("ledger", title, table);
  reveal(get("ledger"), table.querySelector("[aria-current]"));
}

function drawSource(source) {
  if (source === null) {
    fill("source", make("h2", "", "source"), make("p", "dim", "no source here"));
    return;
  }
  const margin = String(source.first + source.lines.length).length;
  const lines = source.lines.map((text, n) => {
    const number = make("span", "number", `${n === source.at ? ">" : " "} ${String(source.first + n).padStart(margin)} `);
    return make("span", n === source.at ? "line at" : "line", number, text || " ");
  });
  const title = make("h2", "", source.name, " ", make("small", "", source.caption));
  fill("source", title, make("pre", "", ...lines));
}

function drawOutput(stop) {
  if (!film.output.length && !film.stops.some((one) => one.past && one.past.length)) {
    fill("printed");
    return;
  }
  const pieces = stop.past || film.output.slice(0, stop.printed);
  const shown = make("pre", "", ...pieces.map(([stream, text]) => make("span", stream, text)));
  const title = stop.past ? "output up to this event" : "output";
  fill("printed", make("h2", "", title), pieces.length ? shown : make("p", "dim", "nothing was printed yet"));
  shown.scrollTop = shown.scrollHeight;
}

function cell([text, weight], marked) {
  const strong = weight !== null && Math.abs(weight) > 0.7;
  const way = weight === null ? "odd" : weight > 0 ? "up" : weight < 0 ? "down" : "zero";
  const made = make("td", [way, strong ? "full" : "", marked ? "mark" : ""].join(" "), text);
  if (weight) made.style.setProperty("--weight", String(Math.abs(weight)));
  return made;
}

function drawMatrix(matrix) {
  const aside = [matrix.scale, matrix.note].filter(Boolean).join(", ");
  const pane = make("section", "matrix", make("h2", "", matrix.title, " ", make("small", "", aside)));
  pane.tabIndex = 0;
  pane.setAttribute("aria-label", matrix.title);
  if (matrix.word) {
    pane.append(make("p", "word", matrix.word));
    return pane;
  }
  const head = make("tr", "", make("th", ""), ...matrix.cols.map((n) => make("th", "", String(n))));
  const rows = matrix.rows.map(([n, cells], r) => {
    const marked = (c) => matrix.mark !== null && matrix.mark[0] === r && matrix.mark[1] === c;
    return make("tr", "", make("th", "", String(n)), ...cells.map((one, c) => cell(one, marked(c))));
  });
  pane.append(make("table", "", make("thead", "", head), make("tbody", "", ...rows)));
  return pane;
}

function drawWords(stop, number) {
  const lines = stop.explanation.map((line) => make("p", "", line));
  if (stop.proof) lines.push(make("p", "dim", `Weights: ${stop.proof}.`));
  lines.push(...stop.displays.map((line) => make("p", "display", line)));
  fill("explanation", ...lines);
  const before = number === 0 ? film.before : [];
  const told = [...before, ...stop.remarks].filter(([kind]) => kind !== "say");
  fill("console", ...told.map(([kind, command, text]) => {
    const words = command ? make("span", "command", `(bpdb) ${command}\n`) : "";
    return make("pre", kind === "error" ? "error" : "", words, text);
  }));
}

function drawPlace(number) {
  const others = film.left_out ? ` (${film.left_out})` : "";
  fill("count", `stop ${number + 1} of ${film.stops.length}${others}`);
  get("slider").value = String(number + 1);
  get("first").disabled = get("back").disabled = number === 0;
  get("last").disabled = get("ahead").disabled = number === film.stops.length - 1;
  const list = get("list");
  for (const button of list.querySelectorAll("button")) {
    if (Number(button.dataset.stop) !== number) {
      button.removeAttribute("aria-current");
      continue;
    }
    button.setAttribute("aria-current", "step");
    const [top, bottom] = [button.offsetTop, button.offsetTop + button.offsetHeight];
    if (top < list.scrollTop || bottom > list.scrollTop + list.clientHeight) list.scrollTop = top - list.clientHeight / 2;
  }
}

function show(number) {
  at = Math.max(0, Math.min(number, film.stops.length - 1));
  const stop = film.stops[at];
  drawHead(stop);
  drawCaption(stop, at);
  drawGraph(stop.graph);
  drawLedger(stop.ledger, stop.optimizer);
  drawSource(stop.source);
  drawOutput(stop);
  get("matrices").replaceChildren(...stop.matrices.map(drawMatrix));
  drawWords(stop, at);
  drawPlace(at);
  try {
    history.replaceState(null, "", `#${at + 1}`);
  } catch {
    // Inside a notebook a page has no address of its own.
  }
}

function listStops() {
  let group = "";
  film.stops.forEach((stop, n) => {
    const title = `iteration ${stop.iteration} ${stop.phase}`;
    if (title !== group) get("stops").append(make("li", "group", title));
    group = title;
    const button = make("button", stop.remarks.some(([kind]) => kind === "say") ? "spoken" : "", `${n + 1} ${stop.name}`);
    button.type = "button";
    button.title = stop.name;
    button.dataset.stop = String(n);
    button.addEventListener("click", () => show(n));
    get("stops").append(make("li", "", button));
  });
  get("slider").max = String(film.stops.length);
}

function listen() {
  const keys = { ArrowRight: () => at + 1, ArrowLeft: () => at - 1, Home: () => 0, End: () => film.stops.length - 1 };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.shiftKey || !(event.key in keys)) return;
    event.preventDefault();
    show(keys[event.key]());
  });
  const buttons = { first: keys.Home, back: keys.ArrowLeft, ahead: keys.ArrowRight, last: keys.End };
  for (const [id, where] of Object.entries(buttons)) get(id).addEventListener("click", () => show(where()));
  get("slider").addEventListener("input", (event) => show(Number(event.target.value) - 1));
  addEventListener("hashchange", () => show(Number(location.hash.slice(1)) - 1 || 0));
}

function begin() {
  if (!film.stops.length) {
    fill("caption", make("p", "", "nothing stopped: there is nothing to show"));
    fill("console", ...film.before.map(([, , text]) => make("pre", "", text)));
    return;
  }
  if (matchMedia("(max-width: 1100px)").matches) get("list").open = false;
  listStops();
  listen();
  show(Number(location.hash.slice(1)) - 1 || 0);
}

begin();
