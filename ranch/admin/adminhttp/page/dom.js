// Elements and formats. Text is only ever set as text: what peers send cannot become markup.

export const $ = (id) => document.getElementById(id);

// el returns an element with properties and attributes; children are elements or text.
export function el(name, properties = {}, ...children) {
  const e = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (value == null || value === false) continue;
    if (key.startsWith("on")) e.addEventListener(key.slice(2), value);
    else if (key in e && key !== "list") e[key] = value;
    else e.setAttribute(key, value);
  }
  e.append(...children.filter((c) => c != null));
  return e;
}

// setText changes the text of an element if it differs, which spares the browser a layout.
export function setText(e, text) {
  if (e.textContent !== text) e.textContent = text;
}

export function bytes(n) {
  if (n < 1024) return Math.round(n) + " B";
  let unit = -1;
  do { n /= 1024; unit++; } while (n >= 1023.95 && unit < 5);
  return n.toFixed(1) + " " + "KMGTPE"[unit] + "iB";
}

export function duration(s) {
  if (s < 1) return Math.round(s * 1000) + "ms";
  if (s < 60) return (s < 10 ? s.toFixed(1) : Math.floor(s)) + "s";
  const parts = [[86400, "d"], [3600, "h"], [60, "m"], [1, "s"]];
  const first = parts.findIndex(([size]) => s >= size);
  const [[size, unit], next] = [parts[first], parts[first + 1]];
  return Math.floor(s / size) + unit + (next ? Math.floor((s % size) / next[0]) + next[1] : "");
}

const numbers = new Intl.NumberFormat("en");

export function count(n) {
  if (n >= 100 || Number.isInteger(n)) return numbers.format(Math.round(n));
  return n.toFixed(1);
}

// value formats a value of a result by the kind of its column.
export function value(v, kind) {
  if (v == null) return "";
  switch (kind) {
    case "bytes": return bytes(v);
    case "duration": return duration(v);
    case "time": return new Date(v).toLocaleTimeString();
  }
  if (typeof v === "object") return JSON.stringify(v);
  return String(v);
}

// color returns a color of the style sheet for a canvas.
export function color(name) {
  const probe = $("probe");
  probe.style.color = `var(--${name})`;
  return getComputedStyle(probe).color;
}
