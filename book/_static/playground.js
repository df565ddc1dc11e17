// The invariance playground: takes the place of every picture in a figure of class "playground".
// A classic script, since browsers load no module from file://.
"use strict";

(() => {
  // Strict JSON: tools/playground_figure.py reads it too. Of the units (rows of weights) and of the
  // examples the reader moves the first, w and x; the others are what layer and batch norm need.
  const SETTINGS = {
    "2": {
      "limit": 6,
      "units": [[2, 1], [-1, 2], [1.5, -2], [0.5, 3]],
      "examples": [[3, 4], [-2, 1], [1, -3], [4, 0.5]]
    },
    "8": {
      "limit": 4,
      "units": [
        [-1, 0.5, 2, 1, -0.5, 1.5, -2, 0],
        [1, -0.5, 0.5, -1.5, 2, 0, 1, -1],
        [0, 1.5, -1, 0.5, 1, -2, -0.5, 1],
        [-1.5, 1, 0, 2, -1, 0.5, 1, 0.5]
      ],
      "examples": [
        [0.5, 1, 3, 2.5, 1, 2, 0.5, 1.5],
        [2, 0.5, 1, 0, 1.5, 3, 2.5, 0.5],
        [1, 2.5, 0.5, 1.5, 3, 0, 1, 2],
        [0, 1.5, 2, 3, 0.5, 1, 2, 1]
      ]
    }
  };

  // ---- arithmetic: as in cosnorm and torch, with nothing added under a root -------------------------

  const sum = (values) => values.reduce((total, value) => total + value, 0);
  const dot = (a, b) => sum(a.map((value, i) => value * b[i]));
  const length = (a) => Math.hypot(...a);
  // What has no length or no spread counts as 0: the contract of the cosine with a zero vector.
  const ratio = (above, below) => (below === 0 ? 0 : above / below);
  const cosine = (a, b) => Math.max(-1, Math.min(1, ratio(dot(a, b), length(a) * length(b))));

  // The first component goes before the mean does, so that a constant vector gives exact zeros.
  function centered(a) {
    const rest = a.map((value) => value - a[0]);
    const mean = sum(rest) / a.length;
    return rest.map((value) => value - mean);
  }

  // The first value less the mean of all, divided by their deviation.
  function standardized(values) {
    const rest = centered(values);
    return ratio(rest[0], length(rest) / Math.sqrt(rest.length));
  }

  // What unit w = units[0] makes of example x = examples[0], by the names of the techniques in cosnorm.
  function numbers(units, examples) {
    const [w, x] = [units[0], examples[0]];
    return {
      none: dot(w, x),
      weight: ratio(dot(w, x), length(w)),
      cosine: cosine(w, x),
      centered: cosine(centered(w), centered(x)),
      layer: standardized(units.map((unit) => dot(unit, x))),
      batch: standardized(examples.map((example) => dot(w, example))),
    };
  }

  // A sum that cancels leaves rounding behind, which must not pass for a direction.
  const moved = (vector, { scale, shift }) =>
    vector
      .map((value) => scale * value + shift)
      .map((value) => (Math.abs(value) <= 1e-13 * Math.abs(shift) ? 0 : value));

  // Units and examples as scaled and shifted: the first of each, or all.
  function current({ units, examples, w, x }) {
    const each = (vectors, side) =>
      vectors.map((vector, i) => (i === 0 || side.all ? moved(vector, side) : vector));
    return { units: each(units, w), examples: each(examples, x) };
  }

  const same = (before, now) => Math.abs(now - before) <= 1e-9 * Math.max(1, Math.abs(before));

  if (typeof module !== "undefined") {
    module.exports = { SETTINGS, numbers, current, same };
    return;
  }

  // ---- words -----------------------------------------------------------------------------------------

  const ROWS = [
    ["none", "dot product", "w · x"],
    ["weight", "weight norm", "w · x / ‖w‖"],
    ["cosine", "cosine", "w · x / (‖w‖ ‖x‖)"],
    ["centered", "Pearson", "cosine of w and x less their means"],
    ["layer", "layer norm", "of w · x, among all units"],
    ["batch", "batch norm", "of w · x, among all examples"],
  ];
  const NAMES = { w: "weights", x: "input" };
  const COMPANY = { w: "all units alike", x: "all examples alike" };

  // No minus before a zero, and a true minus sign.
  const written = (value, digits = 3) =>
    value
      .toFixed(digits)
      .replace(/^-(?=[0.]*$)/, "")
      .replace("-", "\u2212");
  const list = (names) => names.join(", ") || "nothing";

  // ---- elements --------------------------------------------------------------------------------------

  function fill(element, attributes, children = []) {
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  }
  const html = (name, attributes = {}, ...children) =>
    fill(document.createElement(name), attributes, children);
  const svg = (name, attributes = {}, ...children) =>
    fill(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);

  // ---- one playground --------------------------------------------------------------------------------

  function playground(figure, place) {
    const id = (name) => `${figure.id || "playground"}-${name}`;
    const state = {};
    const inputs = [];
    const cells = {};
    let before = null; // the numbers when the last action began
    let action = null;
    let telling = 0;

    const vectors = () => ({ w: state.units, x: state.examples });
    const tip = (side) => moved(vectors()[side][0], state[side]);
    const setting = () => SETTINGS[state.dimensions];

    function start(dimensions) {
      const { units, examples } = structuredClone(SETTINGS[dimensions]);
      Object.assign(state, { dimensions, units, examples, w: still(), x: still() });
      [before, action] = [null, null];
    }
    const still = () => ({ scale: 1, shift: 0, all: false });

    // Everything that a control does in a row is one action: the numbers are compared with those before it.
    function act(name, change) {
      const now = current(state);
      if (name !== action) [before, action] = [numbers(now.units, now.examples), name];
      change();
      refresh();
    }

    // -- drawings: 200 units wide and high, the origin in the middle --

    const drawing = svg("svg", { viewBox: "-100 -100 200 200", role: "group" });

    // What can be moved: component `across` by going right, component `up` by going up.
    function handle(element, side, across, up, label, toValues) {
      fill(element, { class: "grip", role: "slider", tabindex: 0, "aria-label": label });
      const main = across ?? up;
      const name = `${side} ${main}`;
      const set = (index, value) => {
        const { scale, shift } = state[side];
        const most = Math.max(setting().limit, Math.abs(tip(side)[index]));
        const within = Math.max(-most, Math.min(most, value));
        vectors()[side][0][index] = (Number(within.toFixed(9)) - shift) / scale;
      };
      const drag = (event) => {
        const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(
          drawing.getScreenCTM().inverse(),
        );
        const values = toValues(at).map((value) => Math.round(10 * value) / 10);
        act(name, () => {
          if (across !== null) set(across, values[0]);
          set(up, values[1]);
        });
      };
      element.addEventListener("pointerdown", (event) => {
        event.preventDefault();
        element.focus();
        element.setPointerCapture(event.pointerId);
        action = null;
      });
      element.addEventListener("pointermove", (event) => {
        if (element.hasPointerCapture(event.pointerId)) drag(event);
      });
      element.addEventListener("keydown", (event) => {
        const size = event.shiftKey ? 1 : 0.1;
        const steps = {
          ArrowLeft: [main, -size],
          ArrowRight: [main, size],
          ArrowDown: [up, -size],
          ArrowUp: [up, size],
        };
        const step = steps[event.key];
        if (!step || event.ctrlKey || event.altKey || event.metaKey) return;
        event.preventDefault();
        act(name, () => set(step[0], tip(side)[step[0]] + step[1]));
      });
      // To be called after every change: says where the handle is.
      return () => {
        const now = tip(side)[main];
        const most = Math.max(setting().limit, Math.abs(now));
        const [right, high] = [main, up].map((index) => written(tip(side)[index], 2));
        fill(element, {
          "aria-valuemin": -most,
          "aria-valuemax": most,
          "aria-valuenow": now,
          "aria-valuetext": across === null ? high : `${right} across, ${high} up`,
        });
      };
    }

    function plane() {
      const edge = setting().limit;
      const unit = 96 / edge;
      const inside = (vector) => Math.max(...vector.map(Math.abs)) <= edge;
      const toEdge = (vector) => vector.map((value) => (value * edge) / Math.max(...vector.map(Math.abs)));
      const onPaper = ([a, b]) => [a * unit, -b * unit];
      const line = (from, to, attributes) => {
        const [[x1, y1], [x2, y2]] = [onPaper(from), onPaper(to)];
        return svg("line", { x1, y1, x2, y2, ...attributes });
      };
      const grid = svg("g", { class: "grid", "aria-hidden": "true" });
      for (let at = -edge; at <= edge; at += 1) {
        const kind = { class: at === 0 ? "axis" : "" };
        grid.append(line([at, -edge], [at, edge], kind), line([-edge, at], [edge, at], kind));
      }
      const marks = svg("g", { "aria-hidden": "true" });
      const arrows = {};
      const groups = ["x", "w"].map((side) => {
        const parts = {
          shaft: svg("line"),
          head: svg("path", { class: "head" }),
          label: svg("text", { class: "name" }, side),
          grip: svg("circle", { r: 11 }),
        };
        const label = `tip of ${side}, the ${NAMES[side]}; arrow keys move it`;
        const say = handle(parts.grip, side, 0, 1, label, (at) => [at.x / unit, -at.y / unit]);
        arrows[side] = { ...parts, say };
        return svg("g", { class: side }, ...Object.values(parts));
      });
      const draw = () => {
        const { units, examples } = current(state);
        const [w, x] = [units[0], examples[0]];
        marks.replaceChildren(
          ...units.slice(1).map((other) => faint(other, "w")),
          ...examples.slice(1).map((other) => faint(other, "x")),
        );
        arrow(arrows.w, w);
        arrow(arrows.x, x);
        if (length(w) > 0 && length(x) > 0) marks.append(...angle(w, x));
      };
      const faint = (vector, side) =>
        line([0, 0], inside(vector) ? vector : toEdge(vector), { class: `other ${side}` });
      // The line from x to its foot on the direction of w, and the arc between the two.
      const angle = (w, x) => {
        const along = w.map((value) => value / length(w));
        const foot = along.map((value) => value * dot(along, x));
        const radius = 0.22 * edge;
        const [start, end] = [along, x.map((value) => value / length(x))].map((a) =>
          onPaper(a.map((value) => value * radius)),
        );
        const left = along[0] * x[1] - along[1] * x[0] > 0;
        const arc = `M${start} A${radius * unit},${radius * unit} 0 0 ${left ? 0 : 1} ${end}`;
        const marks = [
          line(toEdge(along.map((value) => -value)), toEdge(along), { class: "along" }),
          svg("path", { class: "arc", d: arc }),
        ];
        return inside(x) && inside(foot) ? [...marks, line(x, foot, { class: "drop" })] : marks;
      };
      // A vector that leaves the plane keeps its direction and is dashed; its tip waits at the edge.
      const arrow = ({ shaft, head, grip, label }, vector) => {
        const [a, b] = onPaper(inside(vector) ? vector : toEdge(vector));
        fill(shaft, { x1: 0, y1: 0, x2: a, y2: b, class: inside(vector) ? "" : "beyond" });
        fill(grip, { cx: a, cy: b });
        const size = Math.hypot(a, b);
        const [u, v] = size > 0 ? [a / size, b / size] : [0, 0];
        const [left, right] = [4, -4].map((aside) => [a - 9 * u + aside * v, b - 9 * v - aside * u]);
        head.setAttribute("d", `M${a},${b} L${left} L${right} Z`);
        const [at, above] = [a + 16 * u, b + 16 * v].map((value) => Math.max(-90, Math.min(90, value)));
        fill(label, { x: at, y: above });
      };
      drawing.setAttribute("aria-label", "plane with the arrows w and x");
      return [[grid, marks, ...groups], () => [draw(), arrows.w.say(), arrows.x.say()]];
    }

    function bars() {
      const half = 40; // the height of a bar at the limit
      const [unit, pitch] = [half / setting().limit, 22];
      const fixed = svg("g", { class: "grid", "aria-hidden": "true" });
      const drawn = [];
      for (const [side, middle] of Object.entries({ w: -49, x: 49 })) {
        fixed.append(svg("text", { class: `name ${side}`, x: -93, y: middle }, side));
        fixed.append(svg("line", { class: "axis", x1: -86, x2: 98, y1: middle, y2: middle }));
        tip(side).forEach((_, index) => {
          const left = -84 + index * pitch;
          const bar = svg("rect", { class: "bar", x: left + 4, width: pitch - 8 });
          const grip = svg("rect", {
            x: left + 1,
            y: middle - half - 6,
            width: pitch - 2,
            height: 2 * half + 12,
            rx: 3,
          });
          const cap = svg("line", { x1: left + 3, x2: left + pitch - 3 });
          const label = `component ${index + 1} of ${side}, the ${NAMES[side]}`;
          const say = handle(grip, side, null, index, label, (at) => [null, (middle - at.y) / unit]);
          const draw = () => {
            const value = tip(side)[index];
            const beyond = Math.abs(value) > setting().limit;
            const end = middle - unit * Math.max(-setting().limit, Math.min(setting().limit, value));
            fill(bar, { y: Math.min(middle, end), height: Math.abs(end - middle) });
            fill(cap, { y1: end, y2: end, class: beyond ? "cap beyond" : "cap" });
          };
          drawn.push({ group: svg("g", { class: side }, bar, cap, grip), draw, say });
        });
      }
      drawing.setAttribute("aria-label", "components of w, above, and of x, below");
      return [
        [fixed, ...drawn.map((one) => one.group)],
        () => drawn.forEach((one) => [one.draw(), one.say()]),
      ];
    }

    let redraw = null;
    function show(dimensions) {
      start(dimensions);
      const [children, again] = dimensions === "2" ? plane() : bars();
      drawing.replaceChildren(...children);
      redraw = again;
      refresh();
    }

    // -- controls --

    function slider(side, quantity, step, toValue, toPlace, toText) {
      const range = { type: "range", min: -2, max: 2, step };
      const input = html("input", { id: id(`${side}-${quantity}`), ...range });
      const shown = html("span", { class: "shown", "aria-hidden": "true" });
      input.addEventListener("input", () =>
        act(input.id, () => (state[side][quantity] = toValue(Number(input.value)))),
      );
      inputs.push(() => {
        const text = toText(state[side][quantity]);
        input.value = toPlace(state[side][quantity]);
        input.setAttribute("aria-valuetext", text);
        shown.textContent = text;
      });
      const rest = html("span", { class: "hidden" }, ` of ${side}`);
      const label = html("label", { for: input.id }, quantity, rest);
      return html("div", { class: "control" }, label, input, shown);
    }

    function sideControls(side) {
      const box = html("input", { type: "checkbox", id: id(`${side}-all`) });
      box.addEventListener("change", () => act(box.id, () => (state[side].all = box.checked)));
      inputs.push(() => (box.checked = state[side].all));
      return html(
        "fieldset",
        { class: side },
        html("legend", {}, html("b", {}, side), `, the ${NAMES[side]}`),
        slider(
          side,
          "scale",
          0.25,
          (power) => 2 ** power,
          Math.log2,
          (factor) => `× ${written(factor, 2)}`,
        ),
        slider(
          side,
          "shift",
          0.1,
          Number,
          Number,
          (number) => `${number < 0 ? "" : "+ "}${written(number, 1)}`,
        ),
        html("div", { class: "control" }, box, html("label", { for: box.id }, COMPANY[side])),
      );
    }

    function dimensionControls() {
      const choices = Object.keys(SETTINGS).map((dimensions) => {
        const radio = html("input", {
          type: "radio",
          name: id("dimensions"),
          id: id(`dimensions-${dimensions}`),
        });
        radio.checked = dimensions === "2";
        radio.addEventListener("change", () => show(dimensions));
        return html(
          "label",
          { for: radio.id },
          radio,
          dimensions === "2" ? "2, as arrows" : `${dimensions}, as bars`,
        );
      });
      const again = html("button", { type: "button" }, "Start again");
      again.addEventListener("click", () => show(state.dimensions));
      return html("fieldset", { class: "dimensions" }, html("legend", {}, "components"), ...choices, again);
    }

    // -- readouts --

    function table() {
      const rows = ROWS.map(([key, name, formula]) => {
        cells[key] = { value: html("td", { class: "value" }), verdict: html("td", { class: "verdict" }) };
        const head = html(
          "th",
          { scope: "row", class: key },
          name,
          html("span", { class: "formula" }, formula),
        );
        return html("tr", { "data-number": key }, head, cells[key].value, cells[key].verdict);
      });
      const heads = ["number", "now", "last action"].map((text) => html("th", { scope: "col" }, text));
      return html("table", {}, html("thead", {}, html("tr", {}, ...heads)), html("tbody", {}, ...rows));
    }

    const status = html("p", { class: "status", role: "status" });

    function refresh() {
      const { units, examples } = current(state);
      const now = numbers(units, examples);
      redraw();
      inputs.forEach((update) => update());
      for (const [key] of ROWS) {
        const { value, verdict } = cells[key];
        const kept = before && same(before[key], now[key]);
        value.textContent = written(now[key]);
        verdict.textContent = before ? (kept ? "unchanged" : `was ${written(before[key])}`) : "";
        verdict.classList.toggle("kept", Boolean(kept));
      }
      clearTimeout(telling);
      // Said once a movement rests: a screen reader would stumble over every step of it.
      telling = setTimeout(() => (status.textContent = summary(now)), 400);
    }

    function summary(now) {
      if (!before) return "Move w or x, scale or shift them: this line says which numbers stayed.";
      const [kept, changed] = [true, false].map((wanted) =>
        ROWS.filter(([key]) => same(before[key], now[key]) === wanted).map(([, name]) => name),
      );
      return `Unchanged: ${list(kept)}. Moved: ${list(changed)}.`;
    }

    const live = html(
      "div",
      { class: "live", role: "group", "aria-label": "Invariance playground" },
      html("div", { class: "drawing" }, drawing),
      html("div", { class: "readouts" }, table(), status),
      html("div", { class: "controls" }, dimensionControls(), sideControls("w"), sideControls("x")),
    );
    show("2");
    place.before(live);
    figure.classList.add("is-live");
  }

  for (const figure of document.querySelectorAll("figure.playground")) {
    playground(figure, figure.querySelector("img").closest("figure > *"));
  }
})();
