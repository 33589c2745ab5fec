
const PAGE = 24;
const METRICS = readData("gallery-data").scores;
const pairs = readPairs("gallery-data");
const form = document.getElementById("filters");
const cards = document.getElementById("cards");
const more = document.getElementById("more");
const shownNote = document.getElementById("shown");
let found = [];
/* Pairs of one group and seed, whose images make one strip; each card is such a strip, or a pair. */
let strips = [];
let limit = PAGE;

for (const [value, label] of METRICS) form.elements.sort.append(new Option(label, value));
for (const pair of pairs) {
  pair.text = [pair.prompt_0, pair.prompt_1, pair.entity_0, pair.entity_1, pair.background_prompt, pair.group_id, pair.pair_id].join("\n").toLowerCase();
}

const isWithin = (number, least, most) =>
  (least === null || (number !== null && number >= least)) && (most === null || (number !== null && number <= most));
const matches = (pair, wanted) =>
  (!wanted.kind || wanted.kind === "groups" || pair.kinds.includes(wanted.kind)) &&
  (!wanted.variation || pair.variation_kind === wanted.variation) &&
  isWithin(asNumber(pair[wanted.sort]), wanted.least, wanted.most) &&
  (!wanted.verdict || pair.kept === (wanted.verdict === "kept")) &&
  (!wanted.reason || pair.reasons.includes(wanted.reason)) &&
  wanted.words.every((word) => pair.text.includes(word));
const byMetric = (name, sign) => (a, b) => {
  const [first, second] = [asNumber(a[name]), asNumber(b[name])];
  if (first === null || second === null) return (first === null) - (second === null);
  return first === second ? 0 : sign * (first < second ? -1 : 1);
};
const showMasks = () => form.elements.masks.checked;

const makeCard = (pair, place) => {
  const card = make("li", "card");
  const frame = make("button", "frame");
  frame.type = "button";
  frame.setAttribute("aria-haspopup", "dialog");
  const verdict = pair.kept ? "kept" : "dropped";
  frame.setAttribute("aria-label", `${describePair(pair)}: ${verdict}, combined ${formatFixed(pair.combined)}`);
  if (pair.image_0) frame.append(makePane(pair, 0, showMasks()), makePane(pair, 1, showMasks()));
  else frame.append(make("span", "nothing", "Its images are not stored."));
  frame.addEventListener("click", () => openPair(place));
  card.append(frame, make("p", "what", describePair(pair)));
  const score = make("p", "score");
  score.append(make("span", `verdict ${verdict}`, verdict), make("span", "", `J ${formatFixed(pair.combined)}`));
  const sortedBy = form.elements.sort.value;
  if (sortedBy !== "combined") {
    const label = METRICS.find(([name]) => name === sortedBy)[1];
    score.append(make("span", "", `${label} ${format(pair[sortedBy])}`));
  }
  if (pair.reasons.length) score.append(make("span", "", pair.reasons.join(", ")));
  card.append(score);
  return card;
};
const imagesOf = (strip) => {
  const images = new Map();
  for (const pair of strip) for (const side of [0, 1]) {
    const index = pair[`image_index_${side}`];
    if (!images.has(index)) images.set(index, { pair, side, index });
  }
  return [...images.values()].sort((a, b) => a.index - b.index);
};
const makeStrip = (strip) => {
  const card = make("li", "card strip");
  const row = make("div", "images");
  const what = make("p", "what");
  for (const { pair, side, index } of imagesOf(strip)) {
    const entity = plain(pair[`entity_${side}`]);
    const frame = make("button", "frame still");
    frame.type = "button";
    frame.setAttribute("aria-haspopup", "dialog");
    frame.setAttribute("aria-label", `Image ${index}: ${entity}`);
    if (pair.image_0) {
      const pane = makePane(pair, side, showMasks());
      pane.querySelectorAll(".over").forEach((image) => image.remove());
      pane.querySelector(".mark").textContent = String(index);
      frame.append(pane);
    } else frame.append(make("span", "nothing", "Its images are not stored."));
    frame.addEventListener("click", () => openPair(found.indexOf(pair)));
    row.append(frame);
    what.append(make("span", "", entity));
  }
  const kept = strip.filter((pair) => pair.kept).length;
  const combined = strip.map((pair) => asNumber(pair.combined)).sort((a, b) => a - b);
  const score = make("p", "score");
  score.append(
    make("span", "", `${strip.length} pairs, ${kept} kept`),
    make("span", "", `J ${formatFixed(combined[0])} to ${formatFixed(combined.at(-1))}`),
  );
  card.append(row, what, score);
  return card;
};
const findStrips = (chosen) => {
  const groups = Map.groupBy(chosen, (pair) => `${pair.group_id}\n${pair.seed}`);
  return [...groups.values()].filter((strip) => strip[0].group_id && imagesOf(strip).length > 2);
};
const cardOf = (place) => form.elements.kind.value === "groups"
  ? strips.findIndex((strip) => strip.includes(found[place])) : place;
const draw = () => {
  blinker.stop();
  const isGrouped = form.elements.kind.value === "groups";
  const [all, makeOne, word] = isGrouped ? [strips, makeStrip, "groups"] : [found, makeCard, "pairs"];
  cards.replaceChildren(...all.slice(0, limit).map(makeOne));
  more.hidden = all.length <= limit;
  shownNote.textContent = all.length
    ? `${Math.min(limit, all.length).toLocaleString("en")} of ${all.length.toLocaleString("en")} ${word}`
    : `No ${isGrouped ? "group" : "pair"} is like that.`;
};
const bound = (field) => field.value.trim() === "" || Number.isNaN(Number(field.value)) ? null : Number(field.value);
const update = () => {
  const wanted = {
    kind: form.elements.kind.value, verdict: form.elements.verdict.value, reason: form.elements.reason.value,
    variation: form.elements.variation.value, sort: form.elements.sort.value,
    least: bound(form.elements.least), most: bound(form.elements.most),
    words: form.elements.words.value.toLowerCase().split(/\s+/).filter(Boolean),
  };
  const sign = form.elements.order.value === "up" ? 1 : -1;
  found = pairs.filter((pair) => matches(pair, wanted)).sort(byMetric(wanted.sort, sign));
  strips = findStrips(found);
  if (wanted.kind === "groups") found = strips.flat();
  limit = PAGE;
  draw();
};
form.addEventListener("input", update);
form.addEventListener("submit", (event) => event.preventDefault());
more.addEventListener("click", () => {
  const first = limit;
  limit += 2 * PAGE;
  draw();
  cards.children[first]?.querySelector("button").focus();
});

const paneOf = (target) => target.closest?.(".frame:not(.still), .stage")?.querySelector(".pane");
cards.addEventListener("pointerover", (event) => {
  const pane = paneOf(event.target);
  if (pane && pane !== blinker.pane) blinker.start(pane);
});
cards.addEventListener("pointerout", (event) => {
  if (!paneOf(event.relatedTarget ?? cards)) blinker.stop();
});
const isPlain = (event) => !event.ctrlKey && !event.metaKey && !event.altKey;
cards.addEventListener("keydown", (event) => {
  const pane = paneOf(event.target);
  if (event.key.toLowerCase() === "b" && isPlain(event) && pane) blinker.toggle(pane);
});
cards.addEventListener("focusout", () => blinker.stop());

const dialog = document.getElementById("pair");
const stage = document.getElementById("stage");
const blinkButton = document.getElementById("blink");
const maskButton = document.getElementById("masks");
let opened = 0;

const about = (pair) => [
  ["Prompt 0", pair.prompt_0], ["Prompt 1", pair.prompt_1], ["Background", pair.background_prompt],
  ["Instruction", pair.edit_instruction], ["Verdict", pair.kept ? "kept" : `dropped: ${pair.reasons.join(", ")}`],
  ["Review", pair.review_status], ["Shown as", pair.kinds.join(", ")],
  ...METRICS.map(([name, label]) => [label, format(pair[name], 4)]),
  ["Variation", pair.variation_kind], ["Partition", pair.partition], ["Seed", pair.seed],
  ["Size", pair.width && `${pair.width} × ${pair.height} px`], ["Group", pair.group_id], ["Pair", pair.pair_id],
].filter(([, value]) => value !== null && value !== undefined && value !== "");
const setPressed = (button, isPressed) => button.setAttribute("aria-pressed", String(isPressed));
const isPressed = (button) => button.getAttribute("aria-pressed") === "true";
const drawPair = () => {
  const pair = found[opened];
  blinker.stop();
  setPressed(blinkButton, false);
  document.getElementById("pair-title").textContent = describePair(pair);
  const panes = pair.image_0 ? [0, 1].map((side) => makePane(pair, side, isPressed(maskButton))) : [];
  stage.replaceChildren(...(panes.length ? panes : [make("p", "nothing", "Its images are not stored: only kept pairs' are for good.")]));
  blinkButton.disabled = maskButton.disabled = !panes.length;
  document.getElementById("previous").disabled = opened === 0;
  document.getElementById("next").disabled = opened === found.length - 1;
  document.getElementById("about").replaceChildren(
    ...about(pair).flatMap(([name, value]) => [make("dt", "", name), make("dd", "", String(value))]),
  );
};
const openPair = (place) => {
  opened = place;
  setPressed(maskButton, showMasks());
  drawPair();
  dialog.showModal();
};
const step = (by) => {
  if (opened + by < 0 || opened + by >= found.length) return;
  opened += by;
  drawPair();
};
const toggleBlink = () => {
  const pane = stage.querySelector(".pane");
  if (!pane) return;
  blinker.toggle(pane);
  setPressed(blinkButton, blinker.pane === pane);
};
const toggleMasks = () => {
  setPressed(maskButton, !isPressed(maskButton));
  drawPair();
};
document.getElementById("close").addEventListener("click", () => dialog.close());
document.getElementById("previous").addEventListener("click", () => step(-1));
document.getElementById("next").addEventListener("click", () => step(1));
blinkButton.addEventListener("click", toggleBlink);
maskButton.addEventListener("click", toggleMasks);
dialog.addEventListener("close", () => {
  blinker.stop();
  if (cardOf(opened) >= limit) { limit = cardOf(opened) + PAGE; draw(); }
  cards.children[cardOf(opened)]?.querySelector("button").focus();
});
dialog.addEventListener("keydown", (event) => {
  const actions = { ArrowLeft: () => step(-1), ArrowRight: () => step(1), b: toggleBlink, m: toggleMasks };
  const action = actions[event.key] ?? actions[event.key.toLowerCase()];
  if (action && isPlain(event)) { event.preventDefault(); action(); }
});

const survival = readData("survival-data");
for (const figure of document.querySelectorAll(".survival")) {
  const { thresholds, pairs_kept: kept, in_force: inForce } = survival[figure.dataset.threshold];
  const slider = figure.querySelector("input");
  const [line, dot] = [figure.querySelector("line.cursor"), figure.querySelector("circle.cursor")];
  const places = figure.querySelector("svg").dataset.places.split(" ").map((place) => place.split(",").map(Number));
  const show = () => {
    const at = Number(slider.value);
    const [x, y] = places[at];
    line.setAttribute("x1", x); line.setAttribute("x2", x);
    dot.setAttribute("cx", x); dot.setAttribute("cy", y);
    const text = `${format(thresholds[at], 4)}: ${kept[at].toLocaleString("en")} pairs kept`;
    figure.querySelector("output").textContent = text;
    slider.setAttribute("aria-valuetext", text);
  };
  const start = inForce.length ? thresholds.findIndex((value) => value >= inForce[0] - 1e-9) : 0;
  slider.value = String(Math.max(0, start));
  slider.addEventListener("input", show);
  show();
}
update();
