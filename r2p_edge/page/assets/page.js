// The live page: one long poll for all sources, so that many tabs share a browser's six connections.
"use strict";

const PACE = 60; // milliseconds from one request to the next, at least
const PATIENCE = 8000; // milliseconds for an answer; the program holds a request for 2 s
const RETRY = 1000;
const REFRESH = 250; // of the ages that are shown
const LATE = 3; // seconds without a frame, after which a source is not called live
const EVENTS = 50; // that are listed

const byId = (id) => document.getElementById(id);
const cards = new Map();
let after = 0; // number of the newest change that is shown
let run = null; // of the program: another one counts from 0 again
let knownEvent = 0;
let asking = null; // the request that is under way
let failing = null; // since when, by performance.now()

// The same text anew would have the browser lay the page out anew.
function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function element(tag, name, parent) {
  const made = document.createElement(tag);
  if (name) made.className = name;
  parent.append(made);
  return made;
}

function makeCard(name) {
  const root = element("article", "card", byId("sources"));
  const frame = element("div", "frame", root);
  const card = {
    root,
    canvas: element("canvas", "", frame),
    over: element("p", "over", frame),
    told: 0, // when, by performance.now()
    row: null,
    bars: [],
  };
  card.canvas.hidden = true; // before the first picture
  card.canvas.setAttribute("role", "img");
  card.canvas.setAttribute("aria-label", `The newest picture of ${name}`);
  const head = element("div", "head", root);
  element("h2", "", head).textContent = name;
  card.state = element("span", "state", head);
  card.label = element("p", "label", root);
  card.scores = element("div", "scores", root);
  card.facts = element("p", "facts", root);
  return card;
}

// A canvas takes a third less of the processor than an image with a new address for each picture.
async function showPicture(card, blob) {
  const bitmap = await createImageBitmap(blob);
  const { canvas } = card;
  if (canvas.width !== bitmap.width || canvas.height !== bitmap.height) {
    canvas.width = bitmap.width;
    canvas.height = bitmap.height;
  }
  canvas.getContext("bitmaprenderer").transferFromImageBitmap(bitmap);
  canvas.hidden = false;
}

const percent = (score) => `${(100 * score).toFixed(1)} %`;

function duration(seconds) {
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 100) return `${seconds.toFixed(0)} s`;
  if (seconds < 6000) return `${(seconds / 60).toFixed(0)} min`;
  return `${(seconds / 3600).toFixed(0)} h`;
}

function showScores(card, answer) {
  const values = answer.kind === "values";
  while (card.bars.length < answer.top.length) {
    const row = element("div", "score", card.scores);
    const name = element("span", "name", row);
    const track = element("span", "track", row);
    card.bars.push({ row, name, bar: element("span", "bar", track), number: element("span", "number", row) });
  }
  card.bars.forEach((bar, place) => {
    bar.row.hidden = place >= answer.top.length;
    if (bar.row.hidden) return;
    const [label, score] = answer.top[place];
    write(bar.name, label);
    bar.name.title = label;
    bar.bar.style.width = values ? "0" : `${100 * Math.min(Math.max(score, 0), 1)}%`;
    write(bar.number, values ? score.toPrecision(4) : percent(score));
  });
}

function showAnswer(card, answer) {
  if (!answer) {
    write(card.label, "no answer yet");
    return;
  }
  const none = answer.still ? "nothing moves" : "no label";
  write(card.label, answer.kind === "values" ? "" : (answer.label ?? none));
  card.label.classList.toggle("none", answer.label === null);
  showScores(card, answer);
}

function count(number, one, more) {
  return number ? [`${number} ${number === 1 ? one : more}`] : [];
}

function showFacts(card) {
  const { row } = card;
  if (!row) return;
  const passed = card.told ? (performance.now() - card.told) / 1000 : 0;
  const age = row.age === null ? null : row.age + passed;
  const answer = row.answer ?? {};
  const facts = [
    age === null ? "no frame yet" : `frame ${duration(age)} old`,
    ...(answer.lag === undefined ? [] : [`answer after ${(1000 * answer.lag).toFixed(0)} ms`]),
    ...count(answer.gaps, "gap", "gaps"),
    ...count(answer.dropped, "frame dropped", "frames dropped"),
    ...count(answer.skipped, "answer skipped", "answers skipped"),
    ...count(row.reconnects, "reconnection", "reconnections"),
  ];
  write(card.facts, facts.join(" · "));
  let { state } = row;
  if (state === "live" && age > LATE) state = "late";
  if (failing !== null) state = "unknown";
  card.root.dataset.state = state;
  write(card.state, state);
  const since = age === null ? "" : ` for ${duration(age)}`;
  const words = {
    live: "",
    late: `no frame${since}`,
    lost: `lost${since}`,
    ended: "ended",
    opening: "opening",
    unknown: `no news${since}`,
  };
  const note = row.note && state !== "unknown" ? `: ${row.note}` : "";
  write(card.over, words[state] + note);
}

async function show(state, pictures) {
  const drawn = [];
  let start = 0;
  const now = performance.now();
  for (const row of state.sources) {
    if (!cards.has(row.name)) cards.set(row.name, makeCard(row.name));
    const card = cards.get(row.name);
    card.row = row;
    card.told = now;
    showAnswer(card, row.answer);
    if (row.bytes) {
      drawn.push(showPicture(card, pictures.slice(start, start + row.bytes, "image/jpeg")));
      start += row.bytes;
    }
    showFacts(card);
  }
  const { model, runtime, device, precision } = state.about;
  write(byId("about"), [model, runtime, device, precision].filter(Boolean).join(" · "));
  await Promise.all(drawn);
}

function eventRow(event) {
  const row = document.createElement("li");
  const time = element("time", "", row);
  const at = new Date(event.wall);
  time.textContent = Number.isNaN(at.getTime()) ? "" : at.toLocaleTimeString();
  time.dateTime = String(event.wall ?? "");
  element("span", "where", row).textContent = event.source ?? "";
  element("span", "name", row).textContent = event.label ?? "";
  const score = typeof event.score === "number" ? percent(event.score) : "";
  element("span", "number", row).textContent = score;
  element("span", "span", row);
  return row;
}

function showEvent(event) {
  const list = byId("list");
  let row = [...list.children].find((each) => each.dataset.id === String(event.id));
  if (!row) {
    row = eventRow(event);
    row.dataset.id = String(event.id);
    list.prepend(row);
    while (list.children.length > EVENTS) list.lastChild.remove();
    byId("events").hidden = false;
  }
  row.dataset.type = event.type;
  const whole = typeof event.end === "number" && typeof event.start === "number";
  row.querySelector(".span").textContent =
    event.type === "end" ? (whole ? `for ${duration(event.end - event.start)}` : "over") : "now";
}

async function fetchEvents() {
  const answer = await fetch(`/events?after=${knownEvent}`, {
    headers: { Accept: "application/json" },
    signal: asking.signal,
  });
  if (!answer.ok) throw new Error(`status ${answer.status}`);
  for (const event of (await answer.json()).events) {
    knownEvent = event.n;
    showEvent(event);
  }
}

function trouble(text) {
  write(byId("trouble"), text);
  byId("trouble").hidden = !text;
}

async function askOnce() {
  const answer = await fetch(`/next?after=${after}`, { signal: asking.signal });
  if (answer.status === 401) {
    trouble("The token has changed. Open the address that the program printed when it started.");
    return false;
  }
  if (!answer.ok) throw new Error(`status ${answer.status}`);
  const body = await answer.blob();
  const { bytes } = JSON.parse(answer.headers.get("X-R2P"));
  const state = JSON.parse(await body.slice(0, bytes).text());
  if (run !== null && run !== state.run) {
    // The program was started again, and its numbers begin anew.
    location.reload();
    return false;
  }
  run = state.run;
  after = state.n;
  failing = null;
  trouble("");
  await show(state, body.slice(bytes));
  if (state.event > knownEvent) await fetchEvents();
  return true;
}

const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

function untilSeen() {
  if (!document.hidden) return Promise.resolve();
  return new Promise((resolve) => {
    document.addEventListener("visibilitychange", function look() {
      if (document.hidden) return;
      document.removeEventListener("visibilitychange", look);
      resolve();
    });
  });
}

async function askOn() {
  for (;;) {
    await untilSeen();
    const started = performance.now();
    asking = new AbortController();
    const timer = setTimeout(() => asking.abort(), PATIENCE);
    try {
      if (!(await askOnce())) return;
    } catch (error) {
      if (!document.hidden) {
        failing ??= started;
        trouble("The program does not answer. It may have ended, or be out of reach.");
        await pause(RETRY);
      }
    } finally {
      clearTimeout(timer);
    }
    await pause(Math.max(PACE - (performance.now() - started), 0));
  }
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden && asking) asking.abort();
});
setInterval(() => cards.forEach(showFacts), REFRESH);
askOn();
