/* The decoder: runs the steps of a program, as vae_lib/apps/explorer/program.py writes them, on one image. */
"use strict";

/** Returns the typed array of an array packed as JSON: its dtype, and its bytes as base64. */
function unpack({ dtype, base64 }) {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  const kinds = { float32: Float32Array, uint8: Uint8Array, uint16: Uint16Array };
  return new kinds[dtype](bytes.buffer);
}

/** The error function, to 1.5e-7: Abramowitz and Stegun 1964, formula 7.1.26. */
function erf(x) {
  const t = 1 / (1 + 0.3275911 * Math.abs(x));
  const powers = 0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429)));
  return Math.sign(x) * (1 - t * powers * Math.exp(-x * x));
}

/* The normal distribution function from -8 to 8, in steps so small that a straight line between two of them
   is off by 3e-8 at most. */
const STEPS_OF_1 = 1024;
const normal = (x) => (1 + erf(x * Math.SQRT1_2)) / 2;
const NORMAL = Float64Array.from({ length: 16 * STEPS_OF_1 + 2 }, (_, i) => normal(i / STEPS_OF_1 - 8));

const UNARY = {
  exp: Math.exp,
  tanh: Math.tanh,
  relu: (x) => Math.max(x, 0),
  sigmoid: (x) => 1 / (1 + Math.exp(-x)),
  softplus: (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x))),
};

const BINARY = {
  subtract: (a, b) => a - b,
  multiply: (a, b) => a * b,
  divide: (a, b) => a / b,
  maximum: Math.max,
  minimum: Math.min,
};

/** Returns how far to go in an input for the next number of the output: a single number stands for all. */
const stepOf = (input) => (input.length > 1 ? 1 : 0);

/* Steps of other kinds, and those that take much of the time: functions of step, inputs, output, weights. */
const STEPS = {
  gelu(step, [input], output) {
    for (let i = 0; i < output.length; i++) {
      const x = input[i];
      const place = (Math.min(Math.max(x, -8), 8) + 8) * STEPS_OF_1;
      const before = Math.floor(place);
      output[i] = x * (NORMAL[before] + (place - before) * (NORMAL[before + 1] - NORMAL[before]));
    }
  },
  add(step, [a, b], output) {
    const [stepA, stepB] = [stepOf(a), stepOf(b)];
    for (let i = 0; i < output.length; i++) output[i] = a[i * stepA] + b[i * stepB];
  },
  constant(step, inputs, output) {
    output[0] = step.value;
  },
  one_hot(step, [label], output) {
    output.fill(0)[label[0]] = 1;
  },
  /** Joins tensors along their last axis. */
  concatenate(step, inputs, output) {
    const rows = output.length / step.shape.at(-1);
    let offset = 0;
    for (const input of inputs) {
      const depth = input.length / rows;
      for (let row = 0; row < rows; row++)
        output.set(input.subarray(row * depth, (row + 1) * depth), row * step.shape.at(-1) + offset);
      offset += depth;
    }
  },
  /** Takes consecutive places of the last axis. */
  channels(step, [input], output) {
    const count = step.shape.at(-1);
    const rows = count ? output.length / count : 0;
    const depth = input.length / rows;
    for (let row = 0; row < rows; row++)
      for (let c = 0; c < count; c++) output[row * count + c] = input[row * depth + step.start + c];
  },
  /** Keeps the top left of an image. */
  crop(step, [input], output) {
    const [height, width, channels] = step.shape;
    for (let y = 0; y < height; y++) {
      const start = y * step.width * channels;
      output.set(input.subarray(start, start + width * channels), y * width * channels);
    }
  },
  /**
   * A convolution, a transposed one, or a dense layer, which is one of a single pixel: each place of the
   * output is a sum over pairs of a place in the kernel and one in the input, listed by rows and columns.
   * The kernel is ordered (height, width, output channels, input channels).
   */
  convolve(step, [input], output, weights) {
    const { rows, columns } = step;
    const channels = step.size[2];
    const kernel = weights[step.kernel];
    const bias = step.bias === null ? new Float32Array(channels) : weights[step.bias];
    const depth = step.depth;
    const rowOfInput = step.inputWidth * depth;
    const sums = new Float64Array(channels);
    let place = 0;
    for (const row of rows) {
      for (const column of columns) {
        sums.set(bias);
        for (const [kernelY, y] of row) {
          for (const [kernelX, x] of column) {
            addProducts(
              sums, input, y * rowOfInput + x * depth,
              kernel, (kernelY * step.kernelWidth + kernelX) * channels * depth, depth,
            );
          }
        }
        output.set(sums, place);
        place += channels;
      }
    }
  },
};

/** Adds to each sum the product of the pixel at `at` with one row of the kernel's matrix at `k`. */
function addProducts(sums, input, at, kernel, k, depth) {
  const n = sums.length;
  let o = 0;
  for (; o + 4 <= n; o += 4) { // four sums at once: each number of the input is read once for all
    let a = 0, b = 0, c = 0, d = 0;
    for (let i = 0; i < depth; i++) {
      const x = input[at + i];
      a += x * kernel[k + i];
      b += x * kernel[k + depth + i];
      c += x * kernel[k + 2 * depth + i];
      d += x * kernel[k + 3 * depth + i];
    }
    sums[o] += a;
    sums[o + 1] += b;
    sums[o + 2] += c;
    sums[o + 3] += d;
    k += 4 * depth;
  }
  for (; o < n; o++) {
    let a = 0;
    for (let i = 0; i < depth; i++) a += input[at + i] * kernel[k + i];
    sums[o] += a;
    k += depth;
  }
}

/** Returns the function of a program: arrays of numbers, one for each input -> pixels, 0 to 255. */
function makeDecoder(program, weights) {
  const tensors = new Array(program.n_inputs);
  const steps = program.steps.map((step, i) => {
    const output = new Float32Array(step.shape.reduce((a, b) => a * b, 1));
    tensors[program.n_inputs + i] = output;
    if (step.op !== "convolve") return { ...step, output };
    const places = (pairs, which) => 1 + Math.max(...pairs.flat().map((pair) => pair[which]));
    const kernelWidth = places(step.columns, 0);
    const depth = weights[step.kernel].length / (kernelWidth * places(step.rows, 0) * step.size[2]);
    return { ...step, output, kernelWidth, depth, inputWidth: places(step.columns, 1) };
  });
  const run = ({ op, output, ...step }) => {
    const inputs = step.inputs.map((number) => tensors[number]);
    if (op in STEPS) STEPS[op](step, inputs, output, weights);
    else if (op in UNARY) for (let i = 0; i < output.length; i++) output[i] = UNARY[op](inputs[0][i]);
    else {
      const [a, b] = inputs;
      const [stepA, stepB] = [stepOf(a), stepOf(b)];
      for (let i = 0; i < output.length; i++) output[i] = BINARY[op](a[i * stepA], b[i * stepB]);
    }
  };
  return (...inputs) => {
    inputs.forEach((values, i) => (tensors[i] = values));
    steps.forEach(run);
    return Uint8ClampedArray.from(tensors[program.output], (mean) => 255 * mean);
  };
}
