
const review = readData("review-data");
const pairs = readPairs("gallery-data");
const storageKey = `coupled-review:${review.dataset}:${review.snapshot_id}`;
const element = (id) => document.getElementById(id);
const buttons = Object.fromEntries(
  ["keep", "drop", "previous", "next", "undo", "blink", "masks", "save", "open-next", "clear"].map((id) => [id, element(id)]),
);
const setPressed = (button, isOn) => button.setAttribute("aria-pressed", String(isOn));
const isPressed = (button) => button.getAttribute("aria-pressed") === "true";

/* What was decided, in order: undoing takes the last one back, also after the page was closed. */
const load = () => {
  try {
    const known = new Set(pairs.map((pair) => pair.pair_id));
    const stored = JSON.parse(recall(storageKey) ?? "[]");
    return stored.filter(([id, verdict]) => known.has(id) && ["keep", "drop", null].includes(verdict));
  } catch { return []; }
};
let history = load();
let at = 0;
let isSaved = true;
let isRemembered = true;
const decisions = () => {
  const found = new Map();
  for (const [id, verdict] of history) if (verdict) found.set(id, verdict); else found.delete(id);
  return found;
};
const store = () => { isRemembered = remember(storageKey, JSON.stringify(history)); };

const FACTS = [
  ["Prompt 0", (pair) => pair.prompt_0], ["Prompt 1", (pair) => pair.prompt_1],
  ["Instruction", (pair) => pair.edit_instruction],
  ["Combined J", (pair) => format(pair.combined)], ["Background", (pair) => format(pair.background_similarity)],
  ["Alignment", (pair) => format(pair.alignment)], ["Pair", (pair) => pair.pair_id],
];
const drawStage = () => {
  blinker.stop();
  setPressed(buttons.blink, false);
  const pair = pairs[at];
  element("stage").replaceChildren(...[0, 1].map((side) => makePane(pair, side, isPressed(buttons.masks))));
};
const drawCounts = () => {
  const made = decisions();
  const kept = [...made.values()].filter((verdict) => verdict === "keep").length;
  element("bar").value = made.size;
  element("progress").textContent = `Pair ${at + 1} of ${pairs.length}, ${made.size} decided`;
  element("tally").textContent = `${kept} to keep, ${made.size - kept} to drop, ${pairs.length - made.size} undecided.`
    + (isSaved || !made.size ? "" : " Not saved to a file yet.")
    + (isRemembered ? "" : " This browser does not remember them: save before you leave.");
  buttons.undo.disabled = !history.length;
  buttons.save.disabled = !made.size;
  const verdict = made.get(pairs[at].pair_id);
  setPressed(buttons.keep, verdict === "keep");
  setPressed(buttons.drop, verdict === "drop");
};
const draw = () => {
  const pair = pairs[at];
  drawStage();
  element("what").textContent = describePair(pair);
  element("verdict").textContent = pair.kept ? "The filter keeps it." : `The filter drops it: ${pair.reasons.join(", ")}.`;
  element("about").replaceChildren(
    ...FACTS.flatMap(([name, read]) => [make("dt", "", name), make("dd", "", String(read(pair) ?? "–"))]),
  );
  buttons.previous.disabled = at === 0;
  buttons.next.disabled = at === pairs.length - 1;
  drawCounts();
};
const go = (place) => {
  if (place < 0 || place >= pairs.length) return;
  at = place;
  draw();
};
const record = (id, verdict) => {
  history.push([id, verdict]);
  isSaved = false;
  store();
};
const decide = (verdict) => {
  record(pairs[at].pair_id, verdict);
  if (at < pairs.length - 1) go(at + 1); else drawCounts();
};
const undo = () => {
  const last = history.pop();
  if (!last) return;
  isSaved = false;
  store();
  go(pairs.findIndex((pair) => pair.pair_id === last[0]));
};
const goUndecided = () => {
  const made = decisions();
  const later = pairs.findIndex((pair, place) => place > at && !made.has(pair.pair_id));
  const any = pairs.findIndex((pair) => !made.has(pair.pair_id));
  if (later >= 0 || any >= 0) go(later >= 0 ? later : any);
};
const save = () => {
  const made = decisions();
  if (!made.size) return;
  const content = JSON.stringify({ ...review, decisions: Object.fromEntries(made) }, null, 1);
  const link = make("a");
  link.href = URL.createObjectURL(new Blob([content], { type: "application/json" }));
  link.download = `decisions-${review.snapshot_id}.json`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  isSaved = true;
  drawCounts();
};
const forget = () => {
  if (!history.length || !confirm(`Forget ${decisions().size} decisions?`)) return;
  history = [];
  store();
  go(0);
};
const toggleBlink = () => {
  const pane = element("stage").querySelector(".pane");
  blinker.toggle(pane);
  setPressed(buttons.blink, blinker.pane === pane);
};
const toggleMasks = () => {
  setPressed(buttons.masks, !isPressed(buttons.masks));
  drawStage();
};

const actions = {
  keep: ["k", () => decide("keep")], drop: ["d", () => decide("drop")], undo: ["u", undo],
  previous: ["arrowleft", () => go(at - 1)], next: ["arrowright", () => go(at + 1)],
  blink: ["b", toggleBlink], masks: ["m", toggleMasks], save: ["s", save], "open-next": ["n", goUndecided],
};
if (pairs.length) {
  const byKey = new Map(Object.values(actions));
  for (const [id, [, action]] of Object.entries(actions)) buttons[id].addEventListener("click", action);
  buttons.clear.addEventListener("click", forget);
  document.addEventListener("keydown", (event) => {
    const action = byKey.get(event.key.toLowerCase());
    if (!action || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    action();
  });
  addEventListener("beforeunload", (event) => { if (!isSaved && !isRemembered) event.preventDefault(); });
  const made = decisions();
  at = Math.max(0, pairs.findIndex((pair) => !made.has(pair.pair_id)));
  isSaved = !made.size;
  draw();
} else {
  for (const id of ["work", "bar"]) element(id).hidden = true;
  element("nothing").hidden = false;
  for (const button of Object.values(buttons)) button.disabled = true;
}
