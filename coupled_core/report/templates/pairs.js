
/* Pairs as the page holds them, and the two panes that show one. Text is only ever set as text. */
const readData = (id) => JSON.parse(document.getElementById(id).textContent);
const readPairs = (id) => {
  const { columns, rows } = readData(id);
  return rows.map((row) => Object.fromEntries(columns.map((name, index) => [name, row[index]])));
};
const make = (tag, className, text) => {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
};
const asNumber = (value) => value === "-inf" ? -Infinity : value === "inf" ? Infinity : value;
const format = (value, digits = 3) => {
  const number = asNumber(value);
  if (number === null || number === undefined) return "–";
  if (!Number.isFinite(number)) return number < 0 ? "−∞" : "∞";
  return number.toLocaleString("en", { maximumSignificantDigits: digits }).replace("-", "−");
};
const formatFixed = (value) => Number.isFinite(asNumber(value)) ? value.toFixed(2).replace("-", "−") : format(value);
const plain = (text) => (text || "").replace(/\.$/, "");
const describePair = (pair) => `${plain(pair.entity_0)} → ${plain(pair.entity_1)}`;

const BLINK_MS = 500; /* one change in half a second: well below three flashes a second */
const isCalm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

const makeImage = (source, className, alt) => {
  const image = make("img", className);
  image.alt = alt;
  image.decoding = "async";
  image.src = source;
  return image;
};
const makePane = (pair, index, showsMasks) => {
  const pane = make("span", "pane");
  const other = 1 - index;
  const sides = index === 0 ? [[index, "under"], [other, "over"]] : [[index, "under"]];
  for (const [side, layer] of sides) {
    const image = makeImage(pair[`image_${side}`], layer, pair[`prompt_${side}`] || "");
    if (pair.thumb_width <= 96 && pair.thumb_height <= 96) image.classList.add("pixels");
    pane.append(image);
    if (showsMasks) pane.append(makeImage(pair[`mask_${side}`], `${layer} mask`, ""));
  }
  const mark = make("span", "mark", String(index));
  mark.setAttribute("aria-hidden", "true");
  pane.append(mark);
  return pane;
};
const flip = (pane, isFlipped) => {
  pane.classList.toggle("flipped", isFlipped);
  pane.querySelector(".mark").textContent = isFlipped ? "1" : "0";
};

/* Blinks one pane at a time: shows image 1 at once, then the two in turn. */
const blinker = {
  pane: null, timer: 0,
  start(pane) {
    this.stop();
    this.pane = pane;
    flip(pane, true);
    if (!isCalm()) this.timer = setInterval(() => flip(pane, !pane.classList.contains("flipped")), BLINK_MS);
  },
  stop() {
    clearInterval(this.timer);
    if (this.pane) flip(this.pane, false);
    this.pane = null;
  },
  toggle(pane) { if (this.pane === pane) this.stop(); else this.start(pane); },
};
