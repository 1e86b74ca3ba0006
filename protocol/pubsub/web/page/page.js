"use strict";
// Message contents are inserted as text only, never as markup.

const maxMessages = 200; // shown at once
const minDelay = 500, maxDelay = 10000; // before a reconnect, in ms
const $ = (id) => document.getElementById(id);
const topics = new Map(); // topic or pattern → whether the server has acknowledged it

// The connection. ready is false until the session is new or resumed.
let ws, greeted, attaching, ready = false, delay = minDelay;
// The session, and subscribe requests without acknowledgement.
let token, pending = [];
let messageCount = 0, lastRequestID = 0;

function element(tag, props, ...children) {
  const e = document.createElement(tag);
  Object.assign(e, props);
  e.append(...children);
  return e;
}

function showStatus(text, connected) {
  $("status").textContent = text;
  $("status").dataset.state = connected ? "on" : "off";
}

function addItem(item) {
  $("messages").prepend(item);
  while ($("messages").children.length > maxMessages) $("messages").lastChild.remove();
  $("empty").hidden = true;
}

function showMessage(m) {
  const [mega, s, micro] = m.timestamp;
  const time = new Date((mega * 1e6 + s) * 1e3 + micro / 1e3);
  const text = (v) => typeof v === "string" ? v : JSON.stringify(v ?? "");
  addItem(element("li", { className: "message" },
    element("div", { className: "head" },
      element("span", { className: "topic", textContent: text(m.topic) }),
      element("span", { className: "event", textContent: text(m.event) }),
      element("time", { dateTime: time.toISOString(), textContent: time.toLocaleTimeString() })),
    element("pre", { textContent: text(m.data) })));
  $("count").textContent = ++messageCount;
}

function showNotice(text) {
  addItem(element("li", { className: "notice", textContent: text }));
}

function showTopics() {
  $("topics").replaceChildren(...[...topics].map(([name, acknowledged]) => element("li", {},
    element("button", { type: "button", textContent: name, title: "Unsubscribe", className: acknowledged ? "" : "pending", onclick: () => unsubscribe(name) }))));
}

// send reports whether the WebSocket is open.
function send(request) {
  if (ws?.readyState !== WebSocket.OPEN) return false;
  ws.send(JSON.stringify(request));
  return true;
}

const isPattern = (name) => /(^|\.)(\*|>)(\.|$)/.test(name);

function subscribe(name, last) {
  topics.set(name, false);
  showTopics();
  if (ready && send({ action: "subscribe", data: name, last: last && !isPattern(name) })) pending.push(name);
}

function unsubscribe(name) {
  topics.delete(name);
  showTopics();
  send({ action: "unsubscribe", data: name });
}

// sessionReady subscribes to the topics that the session does not have.
function sessionReady(resumed) {
  ready = true;
  delay = minDelay;
  showStatus("connected", true);
  for (const [name, acknowledged] of [...topics]) if (!resumed || !acknowledged) subscribe(name, false);
}

function receiveError(text) {
  if (attaching) { // the session has expired; the server closes the connection
    token = undefined;
    attaching = false;
    return;
  }
  showNotice(text);
  if (pending.length) {
    topics.delete(pending.shift());
    showTopics();
  }
  if (/attached to another/.test(text)) token = undefined;
}

function receiveACK() {
  if (attaching) {
    attaching = false;
    return sessionReady(true);
  }
  const name = pending.shift();
  if (topics.has(name)) {
    topics.set(name, true);
    showTopics();
  }
}

function receiveGreeting(greeting) {
  greeted = true;
  if (token) {
    attaching = true;
    send({ action: "attach", data: token });
  } else {
    token = greeting.token;
    sessionReady(false);
  }
}

function receive(m) {
  // Publishers may add any key to a message. The first frame with a timestamp is the greeting; all
  // later ones are messages, whatever other keys they have.
  if (m.timestamp) greeted ? showMessage(m) : receiveGreeting(m);
  else if (m.ack) receiveACK();
  else if (m.published !== undefined) $("published").textContent = `${m.published} subscriber${m.published === 1 ? "" : "s"}`;
  else if (m.error) receiveError(m.error);
  else if (m.dropped) showNotice(`${m.dropped} messages were dropped`);
  else if (m.lost_bytes) showNotice(`${m.lost_bytes} bytes of messages were lost`);
}

function connect() {
  const url = new URL("ws", location.href);
  url.protocol = url.protocol.replace("http", "ws");
  url.hash = "";
  url.search = "";
  showStatus("connecting", false);
  ws = new WebSocket(url);
  ws.onmessage = (e) => receive(JSON.parse(e.data));
  ws.onclose = (e) => {
    ready = greeted = attaching = false;
    pending = [];
    showStatus(e.reason ? `disconnected: ${e.reason}` : "disconnected", false);
    setTimeout(connect, delay * (0.5 + Math.random() / 2));
    delay = Math.min(delay * 2, maxDelay);
  };
}

$("subscribe").onsubmit = (e) => {
  e.preventDefault();
  const f = e.target.elements;
  subscribe(f.topic.value.trim(), f.last.checked);
  f.topic.value = "";
};

$("publish").onsubmit = (e) => {
  e.preventDefault();
  const f = e.target.elements;
  let data = f.data.value;
  try { data = JSON.parse(data); } catch { /* published as a string */ }
  const sent = send({ action: "publish", id: ++lastRequestID, data: { topic: f.topic.value.trim(), event: f.event.value, message_id: "", data } });
  $("published").textContent = sent ? "…" : "disconnected";
};

// The fragment #topic=a&topic=b.* names topics to subscribe to.
for (const name of new URLSearchParams(location.hash.slice(1)).getAll("topic")) if (name) topics.set(name, false);
showTopics();
connect();
