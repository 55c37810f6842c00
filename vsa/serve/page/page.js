// The search page: a photo, the box on it, what narrows the search, and results that follow.

import {Box, WHOLE, place} from "./box.js";
import {card, chip, fill, make} from "./cards.js";
import {Problem, fitting, info, search} from "./service.js";

const N_RESULTS = 24, N_CATEGORIES = 6;
const PAUSE_MS = 300; // without a change of the box, before it is searched for
const STAGES = {
  category: "search likely categories only",
  box: "describe the box, not the photo",
  refine: "refine by features",
  rerank: "re-rank by quality",
};

const at = (id) => document.getElementById(id);
const box = new Box(at("photo"), boxChanged);
const asked = {
  photo: null, // the file that is sent
  ownBox: false, // somebody's box, not the learned one
  objects: [], // boxes in the photo, the learned one first
  categories: new Set(), // the only ones to search in; none: the likely ones
};
let known = {categories: [], limits: {}}; // of the engine and the service, once they have told
let turn = 0, running = null, timer = 0;

// What people do ---------------------------------------------------------------------------

async function photoChosen(file) {
  const mine = ++turn;
  stop();
  say("");
  at("status").textContent = "Reading the photo…";
  let photo, isShown;
  try {
    photo = await fitting(file, known.limits);
    isShown = await showPhoto(photo, mine);
  } catch (error) {
    if (mine === turn) complain(error);
    return;
  }
  if (mine !== turn) return; // another was chosen meanwhile
  Object.assign(asked, {photo, ownBox: false, objects: []});
  asked.categories.clear();
  box.sides = WHOLE;
  at("desk").hidden = !isShown;
  at("empty").hidden = true;
  for (const id of ["objects", "outlines", "categories", "results"]) at(id).replaceChildren();
  at("timings").textContent = "";
  ask();
}

/** Show a photo; false where the browser cannot, which the service may all the same. */
async function showPhoto(photo, mine) {
  const picture = new Image();
  picture.src = URL.createObjectURL(photo);
  const isShown = await picture.decode().then(() => true, () => false);
  if (mine !== turn || !isShown) {
    URL.revokeObjectURL(picture.src);
    return false;
  }
  URL.revokeObjectURL(at("picture").src);
  at("picture").src = picture.src;
  return true;
}

function boxChanged(isDone) {
  asked.ownBox = true;
  const stage = at("stages").querySelector("[name=box]");
  if (stage) stage.checked = true; // who moves the box wants it
  press("objects", null);
  askSoon(isDone ? 0 : PAUSE_MS);
}

function objectChosen(number) {
  asked.ownBox = number > 0; // the first is the learned one, which is found anew
  if (asked.ownBox) box.sides = asked.objects[number];
  press("objects", `${number}`);
  askSoon(0);
}

function categoryPressed(name) {
  if (!asked.categories.delete(name)) asked.categories.add(name);
  press("categories", ...asked.categories);
  askSoon(PAUSE_MS);
}

function stageSwitched(event) {
  if (event.target.name === "box" && !event.target.checked) asked.ownBox = false;
  askSoon(0);
}

// What is asked -----------------------------------------------------------------------------

function stop() {
  clearTimeout(timer);
  running?.abort();
  running = null;
  at("results").removeAttribute("aria-busy");
}

function askSoon(ms) {
  clearTimeout(timer);
  timer = setTimeout(ask, ms);
}

async function ask() {
  stop();
  if (!asked.photo) return;
  const mine = running = new AbortController();
  const isOwn = asked.ownBox, start = performance.now();
  at("results").setAttribute("aria-busy", "true");
  at("status").textContent = "Searching…";
  const waiting = (seconds) => {
    at("status").textContent = `The service is busy; asking again in ${seconds} s…`;
  };
  try {
    const answer = await search(asked.photo, options(), mine.signal, waiting);
    if (mine !== running) return; // stale
    showAnswer(answer, isOwn, performance.now() - start);
  } catch (error) {
    if (mine !== running) return;
    complain(error);
  }
  running = null;
  at("results").removeAttribute("aria-busy");
}

function options() {
  const switches = [...at("stages").querySelectorAll("input")];
  const chosen = switches.filter((one) => one.checked).map((one) => one.name);
  return {
    k: Math.min(N_RESULTS, known.limits.max_k ?? N_RESULTS),
    box: asked.ownBox ? box.sides.map((side) => side.toFixed(4)).join(",") : null,
    categories: [...asked.categories].join(",") || null,
    segment: at("segment").value || null,
    stages: chosen.length < switches.length ? chosen.join(",") : null,
  };
}

// What they see -----------------------------------------------------------------------------

function showAnswer(answer, isOwn, ms) {
  const {results, missing_shards: missing} = answer;
  say(missing.length ? "Some of the catalogue did not answer: results may be missing." : "");
  if (!isOwn) {
    asked.objects = [answer.box ?? WHOLE, ...answer.other_boxes];
    if (!box.isDragged) box.sides = asked.objects[0];
    showObjects(answer.box ? "main object" : "whole photo");
  }
  showCategories(answer.categories);
  const count = results.length === 1 ? "1 result" : `${results.length} results`;
  at("status").textContent = results.length ? count : "Nothing was found. Press fewer categories.";
  const stages = Object.entries(answer.timings_ms).map(([name, t]) => `${name} ${t.toFixed(0)}`);
  at("timings").textContent = `${stages.join(" · ")} · in all ${ms.toFixed(0)} ms`;
  at("results").replaceChildren(...results.map((result, row) => card(result, row + 1)));
}

function showObjects(first) {
  const chips = asked.objects.map((_, number) => {
    const text = number ? `other object ${number}` : first;
    return chip(`${number}`, text, `Search for: ${text}`, number === 0, () => objectChosen(number));
  });
  fill(at("objects"), chips);
  const outlines = asked.objects.slice(1).map((sides, number) => {
    const outline = make("span", {"data-name": number + 1});
    place(outline, sides);
    return outline;
  });
  at("outlines").replaceChildren(...outlines);
}

function showCategories(likely) {
  const shares = new Map(likely.map(({name, probability}) => [name, probability]));
  const share = (name) => shares.get(name) ?? 0;
  const isPressed = (name) => asked.categories.has(name);
  const names = [...new Set([...known.categories, ...shares.keys()])];
  names.sort((a, b) => share(b) - share(a));
  const shown = names.filter((name, place) => place < N_CATEGORIES || isPressed(name));
  fill(at("categories"), shown.map((name) => {
    const rounded = Math.round(100 * share(name)) || "< 1";
    const percent = shares.has(name) ? ` ${rounded} %` : "";
    const label = `Only ${name}${percent && `, likely by${percent}`}`;
    return chip(name, name + percent, label, isPressed(name), () => categoryPressed(name));
  }));
}

function press(id, ...keys) {
  for (const button of at(id).children) {
    button.setAttribute("aria-pressed", keys.includes(button.dataset.key));
  }
}

/** Say something in the place of messages, which is announced and scrolled to; "" takes it away. */
function say(text, ...more) {
  at("message").replaceChildren(); // so that the same words are announced again
  if (!text) return;
  at("message").append(make("p", {}, text), ...more);
  at("message").scrollIntoView({block: "nearest"});
}

function complain(error) {
  if (!(error instanceof Problem)) console.error(error);
  const {message, cure, requestId} = error;
  const more = [];
  if (cure) more.push(make("p", {}, cure));
  if (requestId) more.push(make("small", {}, `request ${requestId}`));
  if (asked.photo) {
    const again = make("button", {type: "button", "aria-label": "Try again"}, "Try again");
    again.addEventListener("click", ask);
    more.push(again);
  }
  at("status").textContent = at("results").children.length ? "The answer before:" : "";
  say(message, ...more);
}

async function start() {
  known = await info();
  at("about").textContent = `among ${known.n_items.toLocaleString()} pictures`;
  at("segment").append(...known.segments.map((name) => make("option", {value: name}, name)));
  at("shopper").hidden = !known.segments.length;
  const stages = Object.keys(known.stages).filter((name) => known.stages[name]);
  at("stages").append(...stages.map((name) => {
    const words = STAGES[name] ?? name;
    const input = make("input", {type: "checkbox", name, checked: "", "aria-label": words});
    return make("label", {}, input, ` ${words}`);
  }));
  at("options").hidden = false;
}

// Where photos come from --------------------------------------------------------------------

for (const id of ["file", "shot"]) {
  at(id).addEventListener("change", (event) => {
    const [file] = event.target.files;
    event.target.value = ""; // so that the same file can be chosen again
    if (file) photoChosen(file);
  });
}
for (const kind of ["dragenter", "dragover"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    document.body.classList.add("dropping");
  });
}
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) document.body.classList.remove("dropping");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dropping");
  const [file] = event.dataTransfer.files;
  if (file) photoChosen(file);
  else say("What was dropped is no file.", make("p", {}, "Save the picture, and choose its file."));
});
document.addEventListener("paste", (event) => {
  const [file] = event.clipboardData.files;
  if (file) photoChosen(file);
});
at("segment").addEventListener("change", () => askSoon(0));
at("stages").addEventListener("change", stageSwitched);
start().catch(complain);
