/* The page: one code z, the controls that move it, and the views that show it. */

const data = JSON.parse(document.getElementById("data").textContent);
const element = (id) => document.getElementById(id);
const dark = matchMedia("(prefers-color-scheme: dark)");
const [height, width, channels] = data.image_shape;
const weights = data.weights.map(unpack);
const decode = makeDecoder(data.programs.decode, weights);
const decodeScales = data.programs.decode_scales && makeDecoder(data.programs.decode_scales, weights);
const mean = unpack(data.mean);
const latentDim = mean.length;
const images = {
  pixels: unpack(data.images.pixels), labels: unpack(data.images.labels), codes: unpack(data.images.codes),
  scales: data.images.scales.map(unpack), decoded: unpack(data.images.decoded),
};
const nImages = images.labels.length;

/* What is shown: z, the class of a conditional model, and the finer latents of a hierarchical one, or null
   for the means of their priors. */
const state = { z: mean.slice(), label: 0, finer: null };
const ends = { from: 0, to: nImages - 1 }; // the two test images
const views = []; // functions that show the state, called once a frame after it has changed
let milliseconds = 0;

/** Changes the state; the views follow at the next frame. */
function change(changes) {
  Object.assign(state, { finer: null }, changes);
  if (!change.waiting) change.waiting = requestAnimationFrame(show);
}

function show() {
  change.waiting = 0;
  for (const view of views) view();
}

/** Returns the pixels of a code, 0 to 255, as the library's `decode` does (at temperature 0). */
function decoded({ z, label, finer }) {
  const inputs = data.conditional ? [z, [label]] : [z];
  return finer ? decodeScales(...inputs, ...finer) : decode(...inputs);
}

/** Returns row i of an array that holds n rows. */
const row = (array, i, n = nImages) => array.subarray((i * array.length) / n, ((i + 1) * array.length) / n);
const imageState = (i) => ({
  z: row(images.codes, i).slice(), label: images.labels[i],
  finer: images.scales.length ? images.scales.map((scale) => row(scale, i)) : null,
});
const signed = (value, digits = 2) => value.toFixed(digits).replace("-", "\u2212");
const joined = (array) => array.filter(Boolean).join(" ");

/** Paints pixels into a canvas of their own size, which the style sheet enlarges. */
function paint(canvas, pixels) {
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  const colors = channels < 3 ? 1 : 3;
  for (let i = 0; i < width * height; i++) {
    for (let c = 0; c < 3; c++) image.data[4 * i + c] = pixels[i * channels + (colors === 1 ? 0 : c)];
    image.data[4 * i + 3] = channels > colors ? pixels[i * channels + colors] : 255;
  }
  context.putImageData(image, 0, 0);
}

function make(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

/* --- The decoded image -------------------------------------------------------------------------------- */
views.push(() => {
  const start = performance.now();
  paint(element("picture"), decoded(state));
  const elapsed = performance.now() - start;
  milliseconds = milliseconds ? 0.9 * milliseconds + 0.1 * elapsed : elapsed;
  element("caption").textContent = `Mean of p(x|z), decoded in ${milliseconds.toFixed(1)}\u00a0ms`;
});

element("reset").onclick = () => change({ z: mean.slice() });
element("random").onclick = () => {
  const draws = unpack(data.draws.codes);
  const labels = unpack(data.draws.labels);
  const own = [...labels.keys()].filter((i) => !data.conditional || labels[i] === state.label);
  change({ z: row(draws, own[Math.floor(Math.random() * own.length)], labels.length).slice() });
};

/* --- Classes ------------------------------------------------------------------------------------------ */
if (data.conditional) {
  element("classes").hidden = false;
  data.classes.forEach((name, i) => {
    const input = make("input", { type: "radio", name: "class", onchange: () => change({ label: i }) });
    element("classes").append(make("label", {}, input, make("span", { textContent: name })));
  });
  const inputs = element("classes").querySelectorAll("input");
  views.push(() => (inputs[state.label].checked = true));
}

/* --- The plane ---------------------------------------------------------------------------------------- */
function makePlane() {
  const { names, half } = data.plane;
  const [origin, axes, points] = [data.plane.origin, data.plane.axes, data.plane.points].map(unpack);
  const labels = unpack(data.labels);
  const canvas = element("plane");
  const context = canvas.getContext("2d");
  const along = (z, axis) =>
    z.reduce((sum, value, i) => sum + (value - origin[i]) * axes[axis * latentDim + i], 0);
  const coordinates = (z) => [along(z, 0), along(z, 1)];

  /** Moves z within the plane to a place; what lies across the plane stays as it is. */
  function moveTo(place) {
    const now = coordinates(state.z);
    const steps = place.map((value, axis) => Math.min(Math.max(value, -half), half) - now[axis]);
    change({ z: state.z.map((value, i) => value + steps[0] * axes[i] + steps[1] * axes[latentDim + i]) });
  }

  const sideOf = () => canvas.clientWidth;
  const toPixels = ([u, v]) => [((u + half) / (2 * half)) * sideOf(), ((half - v) / (2 * half)) * sideOf()];
  const point = (event) => {
    const box = canvas.getBoundingClientRect();
    const [x, y] = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
    moveTo([(2 * x - 1) * half, (1 - 2 * y) * half]);
  };
  canvas.onpointerdown = (event) => {
    canvas.setPointerCapture(event.pointerId);
    point(event);
  };
  canvas.onpointermove = (event) => event.buttons && point(event);
  canvas.onkeydown = (event) => {
    const directions = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    const direction = directions[event.key];
    if (!direction) return;
    event.preventDefault();
    const step = (half / 50) * (event.shiftKey ? 5 : 1);
    const now = coordinates(state.z);
    moveTo(direction.map((d, axis) => now[axis] + d * step));
  };

  const places = names.map(() => element("place").appendChild(make("span")));
  let background = null; // axes and points, drawn once for a size and a colour scheme
  function drawBackground(style) {
    background = make("canvas", { width: canvas.width, height: canvas.height });
    const on = background.getContext("2d");
    on.scale(devicePixelRatio, devicePixelRatio);
    on.font = "12px system-ui, sans-serif";
    on.strokeStyle = style.getPropertyValue("--line");
    const side = sideOf();
    const labelled = [];
    const step = [1, 2, 5, 10, 20, 50, 100, 1000].find((size) => half / size <= 4);
    for (let tick = -Math.floor(half / step) * step; tick <= half; tick += step) {
      const [x, y] = toPixels([tick, tick]);
      on.globalAlpha = tick === 0 ? 1 : 0.55;
      on.beginPath();
      on.moveTo(x, 0);
      on.lineTo(x, side);
      on.moveTo(0, y);
      on.lineTo(side, y);
      on.stroke();
      if (x > 24 && x < side - 12) labelled.push([signed(tick, 0), x, side - 6, "center"]);
      if (y > 24 && y < side - 24) labelled.push([signed(tick, 0), 5, y + 4, "left"]);
    }
    for (let i = 0; i < labels.length; i++) {
      const [x, y] = toPixels([points[2 * i], points[2 * i + 1]]);
      on.globalAlpha = 0.7;
      on.fillStyle = shade(data.colors[labels[i] % data.colors.length]);
      on.beginPath();
      on.arc(x, y, Math.max(1.4, side / 260), 0, 7);
      on.fill();
    }
    on.globalAlpha = 1;
    on.strokeStyle = style.getPropertyValue("--panel");
    on.fillStyle = style.getPropertyValue("--quiet");
    on.lineWidth = 4;
    for (const [text, x, y, align] of labelled) {
      on.textAlign = align;
      on.strokeText(text, x, y);
      on.fillText(text, x, y);
    }
  }

  function mark(u, v, radius, style) {
    const [x, y] = toPixels([u, v]).map((place) => Math.min(Math.max(place, 0), sideOf())); // or at the edge
    for (const [color, thickness] of [["--paper", 5], ["--text", 2]]) {
      context.strokeStyle = style.getPropertyValue(color);
      context.lineWidth = thickness;
      context.beginPath();
      context.arc(x, y, radius, 0, 7);
      context.stroke();
    }
  }

  const view = () => {
    const side = Math.round(sideOf() * devicePixelRatio);
    if (!side) return;
    const style = getComputedStyle(document.documentElement);
    if (canvas.width !== side) background = null;
    if (!background) {
      canvas.width = canvas.height = side;
      drawBackground(style);
    }
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, side, side);
    context.drawImage(background, 0, 0);
    context.scale(devicePixelRatio, devicePixelRatio);
    const [from, to] = [ends.from, ends.to].map((i) => toPixels(coordinates(row(images.codes, i))));
    context.strokeStyle = context.fillStyle = style.getPropertyValue("--text");
    context.lineWidth = 1;
    context.setLineDash([3, 3]);
    context.beginPath();
    context.moveTo(...from);
    context.lineTo(...to);
    context.stroke();
    context.setLineDash([]);
    for (const [x, y] of [from, to]) context.fillRect(x - 3, y - 3, 6, 6);
    const [u, v] = coordinates(state.z);
    mark(u, v, 8, style);
    [u, v].forEach((value, axis) => {
      places[axis].textContent = `${["\u2192", "\u2191"][axis]} ${names[axis]}: ${signed(value)}`;
    });
  };
  views.push(view);
  new ResizeObserver(view).observe(canvas);
  dark.addEventListener("change", () => {
    background = null;
    colorLegend();
    view();
  });

  const isOutside = (_, i) => Math.max(...row(points, i, labels.length).map(Math.abs)) > half;
  const outside = Array.from(labels).filter(isOutside).length;
  element("plane-help").textContent = joined([
    "Press or drag to decode a place; the arrow keys move it too, with Shift in larger steps.",
    latentDim > 2 && "What lies across the plane stays as it is.",
    `The points are the codes of ${labels.length.toLocaleString("en")} test images`,
    outside ? `(${outside} lie outside);` : ";", "the line joins the two that are chosen.",
  ]).replace(" ;", ";");
  const chips = data.named ? data.classes.map(() => make("i")) : [];
  chips.forEach((chip, i) => {
    element("legend").append(make("li", {}, chip, make("span", { textContent: data.classes[i] })));
  });
  const colorLegend = () => chips.forEach((chip, i) => (chip.style.background = shade(data.colors[i])));
  colorLegend();
}

/** Returns the colour of a class: the notebook's, on a dark page a third of the way to white. */
function shade(color) {
  if (!dark.matches) return color;
  const parts = [1, 3, 5].map((i) => parseInt(color.slice(i, i + 2), 16));
  return `rgb(${parts.map((part) => Math.round(part + (255 - part) / 3)).join()})`;
}

if (data.plane) makePlane();
else element("plane-section").hidden = true;

/* --- Between two test images -------------------------------------------------------------------------- */
/** Returns the state at a part of the way, on straight lines; the class is that of the nearer image. */
function between(part) {
  const [a, b] = [imageState(ends.from), imageState(ends.to)];
  const mix = (x, y) => x.map((value, i) => (1 - part) * value + part * y[i]);
  return {
    z: mix(a.z, b.z), label: (part < 0.5 ? a : b).label,
    finer: a.finer && a.finer.map((values, i) => mix(values, b.finer[i])),
  };
}

const classOf = (i) => data.classes.length && `(${data.classes[images.labels[i]]})`;
const nameOf = (i) => joined([`test image ${i + 1}`, classOf(i)]);

function makeStrip(end, part) {
  const strip = element(end).appendChild(make("div"));
  for (let i = 0; i < nImages; i++) {
    const input = make("input", { type: "radio", name: end, checked: i === ends[end], ariaLabel: nameOf(i) });
    input.onchange = () => {
      ends[end] = i;
      element("way").value = 100 * part;
      change(between(part));
      showEnds();
    };
    const canvas = make("canvas", { title: nameOf(i) });
    paint(canvas, row(images.pixels, i));
    strip.append(make("label", {}, input, canvas));
  }
}

function showEnds() {
  for (const [end, i] of Object.entries(ends)) {
    for (const [id, pixels, what] of [
      [`image-${end}`, row(images.pixels, i), ""],
      [`decoded-${end}`, decoded(imageState(i)), "reconstruction of "],
    ]) {
      const canvas = element(id);
      paint(canvas, pixels);
      canvas.setAttribute("role", "img");
      canvas.ariaLabel = canvas.title = what + nameOf(i);
    }
  }
}

makeStrip("from", 0);
makeStrip("to", 1);
element("way").oninput = ({ target }) => change(between(target.value / 100));
element("between-help").textContent = joined([
  "Outside the images themselves, inside their reconstructions;",
  "the slider goes from one code to the other in a straight line.",
  data.conditional && "The class is that of the nearer image.",
  decodeScales && "The latents of all scales go along.",
]);

/* --- Sliders ------------------------------------------------------------------------------------------ */
for (const { dim, rate, low, high } of data.sliders) {
  const slider = make("input", { type: "range", min: low, max: high, step: (high - low) / 200 });
  const value = make("output");
  const rated = make("small", { textContent: `${rate.toFixed(2)} nats` });
  slider.oninput = () => {
    const z = state.z.slice();
    z[dim] = slider.value;
    change({ z });
  };
  const name = make("span", { textContent: `z${dim}` });
  element("sliders").append(make("label", {}, name, slider, value, rated));
  views.push(() => {
    slider.value = state.z[dim];
    value.textContent = signed(state.z[dim]);
    slider.setAttribute("aria-valuetext", `${value.textContent}; rate ${rate.toFixed(2)} nats`);
  });
}
document.querySelector("main").classList.toggle("few", data.sliders.length <= 6);
const rest = latentDim - data.sliders.length;
element("latents-help").textContent = joined([
  "The rate is the divergence of q(z|x) from N(0, 1), the mean over test images:",
  "what a latent tells of an image.",
  rest && `The ${rest} latents of lower rates have no slider.`,
  decodeScales && "These are the latents at the top, z_1;",
  decodeScales && "when they are moved, finer ones are at the means of their priors.",
]);

/* --- The text, and the first image -------------------------------------------------------------------- */
element("about").textContent =
  `A variational autoencoder with ${latentDim} latent${latentDim > 1 ? "s" : ""}` +
  `${decodeScales ? " at the top of several scales" : ""} (${data.model}), ` +
  `trained on ${data.title} (${data.source}). Its decoder, ${data.n_weights.toLocaleString("en")} weights, ` +
  "runs in this page, which loads and sends nothing.";
element("random").title = `One of ${unpack(data.draws.labels).length} draws of ${data.draws.prior}`;

/** Returns the largest difference of a few decoded images from the library's, in grey levels. */
function check() {
  const n = images.decoded.length / (height * width * channels);
  let largest = 0;
  for (let i = 0; i < n; i++) {
    const expected = row(images.decoded, i, n);
    decoded({ ...imageState(i), finer: null }).forEach((pixel, j) => {
      largest = Math.max(largest, Math.abs(pixel - expected[j]));
    });
  }
  const levels = `${largest} grey level${largest === 1 ? "" : "s"} of 255`;
  element("check").textContent =
    `Checked on opening, on ${n} images: the decoder of this page differs from the library's ` +
    `by at most ${levels}.`;
  return largest;
}

change(imageState(0));
showEnds();
check();
