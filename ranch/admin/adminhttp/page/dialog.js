// The dialog for questions, and the notice for answers.

import { $, el } from "./dom.js";

let noticeTimer;

// notice shows a message for a while.
export function notice(text, good = false) {
  const n = $("notice");
  n.textContent = text;
  n.className = good ? "good" : "";
  n.hidden = false;
  clearTimeout(noticeTimer);
  noticeTimer = setTimeout(() => { n.hidden = true; }, good ? 5000 : 15000);
}

// ask shows a dialog and returns the values of its fields by name, or null if it was cancelled.
// Without an action it only shows something.
export function ask({ title, text = "", content = [], fields = [], action = "", danger = false }) {
  const d = $("dialog");
  d.returnValue = "";
  d.querySelector("h2").textContent = title;
  const inputs = fields.map((f) => el("input", {
    name: f.name, value: f.value || "", type: f.type || "text", placeholder: f.placeholder || "", autocomplete: "off", required: f.required,
  }));
  d.querySelector(".body").replaceChildren(text, ...content, ...fields.map((f, i) => el("label", {}, f.label, inputs[i])));
  d.querySelector("menu").replaceChildren(
    el("button", { value: "", type: "submit", formNoValidate: true }, action ? "Cancel" : "Close"),
    ...(action ? [el("button", { value: "ok", type: "submit", className: danger ? "primary danger" : "primary" }, action)] : []),
  );
  const form = d.querySelector("form");
  form.onkeydown = (e) => { // Enter in a field confirms, instead of the first button
    if (e.key === "Enter" && e.target.tagName === "INPUT" && action) {
      e.preventDefault();
      form.requestSubmit(d.querySelector("button.primary"));
    }
  };
  return new Promise((resolve) => {
    d.onclose = () => resolve(d.returnValue === "ok" ? Object.fromEntries(inputs.map((i) => [i.name, i.value.trim()])) : null);
    d.showModal();
    (inputs[0] || d.querySelector("menu button:last-child")).focus();
  });
}

// shortcuts shows the keys.
export function shortcuts() {
  const keys = {
    "/": "focus the filter", "↑ ↓": "select a row", "Enter": "details of the selected connection", "e k b": "end, kill or ban the selected connection",
    "n p": "next and previous page", "1 … 9": "tables", "t": "theme", "?": "this help",
  };
  const list = el("dl");
  for (const [key, help] of Object.entries(keys)) {
    list.append(el("dt", {}, ...key.split(" ").map((k) => el("kbd", {}, k))), el("dd", {}, help));
  }
  return ask({ title: "Keyboard", content: [list] });
}
