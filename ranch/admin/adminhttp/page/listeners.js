// The listeners with their charts.

import { $, bytes, color, count, duration, el, setText } from "./dom.js";

const maxPoints = 300;
const cards = new Map(); // by name

// charts describes the charts of a listener. A series has a color and computes its value of two samples
// that follow each other.
const charts = [
  { title: "connections", format: count, least: 4, series: [
    { name: "active", color: "accent", fill: true, of: (s) => s.active },
    { name: "cap", color: "bad", dash: [4, 4], of: (s) => s.cap },
  ] },
  { title: "per second", format: count, least: 2, series: [
    { name: "accepted/s", color: "good", of: (s, p, dt) => rate(s.accepted, p.accepted, dt) },
    { name: "refused/s", color: "bad", of: (s, p, dt) => rate(s.refused, p.refused, dt) },
  ] },
  { title: "bytes/s", format: bytes, least: 64, series: [
    { name: "in/s", color: "accent", of: (s, p, dt) => rate(s.read, p.read, dt) },
    { name: "out/s", color: "warn", of: (s, p, dt) => rate(s.written, p.written, dt) },
  ] },
  { title: "handshake p99", format: duration, least: 0.001, exists: (s) => "handshake_p99" in s, series: [
    { name: "handshake p99", color: "accent", of: (s) => s.handshake_p99 },
  ] },
];

function rate(now, before, seconds) {
  return Math.max(now - before, 0) / seconds;
}

// tick formats a value of an axis in few characters.
function tick(n) {
  for (const [size, unit] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]]) if (n >= size) return n / size + unit;
  return String(n);
}

function newChart(about, width) {
  const axis = { stroke: color("soft"), grid: { stroke: color("grid"), width: 1 }, ticks: { show: false }, font: "10px system-ui", size: 34, gap: 3 };
  const options = {
    width, height: 84, padding: [6, 2, 7, 0], legend: { show: false }, cursor: { show: false }, select: { show: false },
    scales: { x: { time: true }, y: { range: (_, min, max) => [0, Math.max((max ?? 0) * 1.15, about.least)] } },
    axes: [{ show: false }, { ...axis, space: 26, values: (_, ticks) => ticks.map(about.format === duration ? duration : tick) }],
    series: [{}, ...about.series.map((s) => ({
      stroke: color(s.color), width: 1.5, dash: s.dash, fill: s.fill ? color("fill") : undefined, points: { show: false }, spanGaps: false,
    }))],
  };
  return new uPlot(options, about.data, about.figure);
}

class Card {
  constructor(name, actions) {
    this.points = [];
    this.name = name;
    this.status = el("span", { className: "badge" });
    this.addr = el("span", { className: "addr" });
    this.figures = el("div", { className: "figures" });
    this.meter = el("meter", { min: 0, "aria-label": "Connections against the cap of " + name });
    this.chartArea = el("div", { className: "charts" });
    this.actions = el("div", { className: "actions" });
    this.element = el("article", { className: "listener", "aria-label": "Listener " + name },
      el("div", { className: "head" }, el("h2", {}, name), this.status, this.addr), this.figures, this.meter, this.chartArea, this.actions);
    this.element.dataset.listener = name;
    this.charts = [];
    this.resizer = new ResizeObserver(() => this.resize());
    this.resizer.observe(this.chartArea);
    this.setActions(actions);
  }

  setActions(actions) {
    this.actions.replaceChildren(...actions(this.name, () => this.last));
    if (this.last) this.show(this.last);
  }

  add(sample, time) {
    const previous = this.last, dt = previous ? time - this.time : 0;
    this.last = sample;
    this.time = time;
    this.show(sample);
    if (!(dt > 0)) return;
    this.points.push([time, sample, previous, dt]);
    if (this.points.length > maxPoints) this.points.shift();
    this.draw();
  }

  show(s) {
    setText(this.status, s.status);
    this.status.dataset.status = s.status;
    setText(this.addr, s.transport + " " + s.addr);
    const figures = { active: count(s.active), cap: s.cap == null ? "unlimited" : count(s.cap), peak: count(s.peak), accepted: count(s.accepted), refused: count(s.refused) };
    if (s.pending) figures.pending = count(s.pending);
    if (s.handshakes) figures.handshakes = count(s.handshakes);
    if (s.handshake_failed) figures["failed handshakes"] = count(s.handshake_failed);
    if (s.accept_errors) figures["accept errors"] = count(s.accept_errors);
    this.figures.replaceChildren(...Object.entries(figures).map(([name, v]) => el("span", {}, name + " ", el("b", {}, v))));
    this.figures.dataset.active = s.active;
    for (const b of this.actions.children) {
      if (b.dataset.action === "suspend") b.hidden = s.status === "suspended";
      if (b.dataset.action === "resume") b.hidden = s.status !== "suspended";
    }
    this.meter.hidden = s.cap == null;
    if (s.cap != null) Object.assign(this.meter, { max: Math.max(s.cap, 1), low: s.cap * 0.75, high: s.cap * 0.9, optimum: 0, value: s.active });
  }

  draw() {
    const wanted = charts.filter((c) => !c.exists || c.exists(this.last));
    if (this.charts.length !== wanted.length) this.build(wanted);
    for (const c of this.charts) {
      c.data = [this.points.map((p) => p[0]), ...c.series.map((s) => this.points.map((p) => s.of(p[1], p[2], p[3]) ?? null))];
      const active = c.data[1];
      if (c.title === "connections") { // a cap far above would flatten the line
        const top = Math.max(...active, 1) * 4;
        c.data[2] = c.data[2].map((cap) => (cap != null && cap <= top ? cap : null));
      }
      c.plot ??= newChart(c, this.width());
      c.plot.setData(c.data);
      c.values.forEach((v, i) => setText(v, c.format(c.data[i + 1].at(-1) ?? 0)));
      c.figure.dataset.points = this.points.length;
      c.figure.dataset.last = active.at(-1);
      c.figure.dataset.top = Math.max(...active);
    }
  }

  build(wanted) {
    for (const c of this.charts) c.plot?.destroy();
    this.charts = wanted.map((about) => {
      const shown = about.series.filter((s) => s.name !== "cap");
      const values = shown.map(() => el("b"));
      const caption = el("figcaption", {}, ...shown.map((s, i) => el("span", {}, values[i], " " + s.name)));
      shown.forEach((s, i) => { values[i].style.color = `var(--${s.color})`; });
      const figure = el("figure", { "aria-label": about.title + " of " + this.name }, caption);
      figure.dataset.chart = about.title;
      return { ...about, figure, values, plot: null };
    });
    this.chartArea.replaceChildren(...this.charts.map((c) => c.figure));
  }

  width() {
    const figure = this.charts[0]?.figure;
    return Math.max(figure?.clientWidth || 150, 80);
  }

  resize() {
    const width = this.width();
    for (const c of this.charts) if (c.plot && c.plot.width !== width) c.plot.setSize({ width, height: 84 });
  }

  // recolor makes the charts again with the colors of another theme.
  recolor() {
    this.build(charts.filter((c) => this.charts.some((old) => old.title === c.title)));
    if (this.last) this.draw();
  }

  remove() {
    this.resizer.disconnect();
    for (const c of this.charts) c.plot?.destroy();
    this.element.remove();
  }
}

// update shows a sample.
export function update(sample, actions) {
  const names = new Set(sample.listeners.map((l) => l.name));
  for (const [name, card] of cards) {
    if (!names.has(name)) {
      card.remove();
      cards.delete(name);
    }
  }
  for (const l of sample.listeners) {
    let card = cards.get(l.name);
    if (!card) {
      card = new Card(l.name, actions);
      cards.set(l.name, card);
      const after = [...cards.keys()].sort().find((name) => name > l.name && cards.get(name).element.isConnected);
      $("listeners").insertBefore(card.element, after ? cards.get(after).element : null);
    }
    card.add(l, sample.time);
  }
}

export function recolor() {
  for (const card of cards.values()) card.recolor();
}

// setActions replaces the buttons of all listeners.
export function setActions(actions) {
  for (const card of cards.values()) card.setActions(actions);
}
