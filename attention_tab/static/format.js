// @ts-check
// The snapshot format of attention_tab/format.py, for the browser.

export const VERSION = 2;
const MAGIC = 0x4e545441; // "ATTN", little-endian
const LEAST = 16; // bytes, of a blob of any version
const LARGEST_CONTENT = 2 ** 27;
/** @type {Record<string, typeof Uint8Array | typeof Uint16Array | typeof Int16Array | typeof Float32Array>} */
const TYPES = { uint8: Uint8Array, uint16: Uint16Array, int16: Int16Array, float32: Float32Array };

/** @typedef {{data: Uint8Array | Uint16Array | Int16Array | Float32Array, type: string, shape: number[]}} Stored */

/**
 * Attention of the heads of all layers in one text of T characters.
 * @typedef {object} Snapshot
 * @property {string[]} tokens
 * @property {number[]} heads in each layer
 * @property {string[]} names of all heads: layer.head, counted from 1
 * @property {Uint8Array} levels 255 sqrt(weight): of each head the lower triangle, row by row
 * @property {Map<string, Float32Array>} metrics
 * @property {Float32Array} loss of each character in nats, NaN for the first
 * @property {string[]} candidates
 * @property {Uint16Array} likeliest indices of candidates, `choices` for each character
 * @property {Float32Array} probabilities of those
 * @property {number} choices
 */

/**
 * The table of a positional encoding.
 * @typedef {object} Encoding
 * @property {string} name
 * @property {string[]} columns
 * @property {Float32Array} values position by position
 * @property {number} positions
 * @property {number} largest
 */

/** The blob is no snapshot, or is damaged. */
export class FormatError extends Error {}

/**
 * @param {unknown} holds
 * @param {string} expected
 * @returns {asserts holds}
 */
function expect(holds, expected) {
  if (!holds) throw new FormatError(`This snapshot cannot be read: expected ${expected}.`);
}

/**
 * @param {ArrayBuffer} blob
 * @returns {Promise<Snapshot>}
 */
export async function decodeSnapshot(blob) {
  const { header, arrays } = await unpacked(blob, "attention");
  const tokens = texts(header, "tokens");
  const candidates = texts(header, "candidates");
  const names = texts(header, "metrics");
  const heads = /** @type {number[]} */ (header.heads);
  expect(Array.isArray(heads) && heads.every((count) => Number.isInteger(count) && count > 0), "heads in each layer");
  expect(
    tokens.every((token) => [...token].length === 1),
    "tokens of one character each",
  );
  const T = tokens.length;
  const N = heads.reduce((sum, count) => sum + count, 0);
  expect(T > 0 && N > 0 && N <= LARGEST_CONTENT, "a head and a character at least");
  const levels = stored(arrays, "weights", "uint8", [N, (T * (T + 1)) / 2]);
  const metrics = stored(arrays, "metrics", "float32", [names.length, N]);
  const loss = stored(arrays, "loss", "float32", [T]);
  const choices = arrays.get("probabilities")?.shape[1] ?? 0;
  const probabilities = stored(arrays, "probabilities", "float32", [T, choices]);
  const likeliest = stored(arrays, "likeliest", "uint16", [T, choices]);
  expect(
    likeliest.every((index) => index < candidates.length),
    "likely characters among the candidates",
  );
  return {
    tokens,
    heads,
    names: heads.flatMap((count, layer) => Array.from({ length: count }, (_, head) => `${layer + 1}.${head + 1}`)),
    levels: /** @type {Uint8Array} */ (levels),
    metrics: new Map(
      names.map((name, i) => [name, /** @type {Float32Array} */ (metrics.subarray(i * N, (i + 1) * N))]),
    ),
    loss: /** @type {Float32Array} */ (loss),
    candidates,
    likeliest: /** @type {Uint16Array} */ (likeliest),
    probabilities: /** @type {Float32Array} */ (probabilities),
    choices,
  };
}

/**
 * @param {ArrayBuffer} blob
 * @returns {Promise<Encoding>}
 */
export async function decodeEncoding(blob) {
  const { header, arrays } = await unpacked(blob, "encoding");
  const columns = texts(header, "columns");
  const { name, largest } = header;
  expect(typeof name === "string", "a name");
  expect(typeof largest === "number" && largest > 0 && Number.isFinite(largest), "the largest value");
  const positions = arrays.get("values")?.shape[0] ?? 0;
  const shares = stored(arrays, "values", "int16", [positions, columns.length]);
  return { name, columns, positions, largest, values: Float32Array.from(shares, (share) => (share / 32767) * largest) };
}

/**
 * @param {ArrayBuffer} blob
 * @param {string} kind
 */
async function unpacked(blob, kind) {
  expect(blob.byteLength >= LEAST, `at least ${LEAST} bytes, got ${blob.byteLength}`);
  const prelude = new DataView(blob);
  const version = prelude.getUint32(4, true);
  const offset = version === 1 ? 12 : 8; // version 1 had a CRC-32 in between
  const size = prelude.getUint32(offset, true);
  expect(prelude.getUint32(0, true) === MAGIC, "its first four bytes to say so");
  expect(
    version === VERSION || version === 1,
    `format ${VERSION} or 1, got ${version}; is TensorBoard of another version than training was?`,
  );
  expect(size >= 4 && size <= LARGEST_CONTENT, `at most ${LARGEST_CONTENT} bytes, got ${size}`);
  const content = await inflated(new Uint8Array(blob, offset + 4), size);
  const length = new DataView(content.buffer).getUint32(0, true);
  let start = 4 + length;
  expect(start <= size, `a header of ${length} bytes`);
  let header;
  try {
    header = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(content.subarray(4, start)));
  } catch {
    header = null;
  }
  expect(typeof header === "object" && header !== null, "a header in JSON");
  const found = typeof header.kind === "string" ? header.kind.slice(0, 50) : "none";
  expect(found === kind, `a snapshot of ${kind}, got ${found}`);
  expect(Array.isArray(header.arrays), "a list of arrays");
  /** @type {Map<string, Stored>} */
  const arrays = new Map();
  for (const entry of header.arrays) {
    expect(Array.isArray(entry) && entry.length === 3, "name, type and shape of each array");
    const [name, type, shape] = entry;
    const Type = typeof type === "string" && Object.hasOwn(TYPES, type) ? TYPES[type] : null;
    const whole = Array.isArray(shape) && shape.every((n) => Number.isInteger(n) && n >= 0 && n <= size);
    expect(typeof name === "string" && Type && whole, "name, type and shape of each array");
    const end =
      start +
      shape.reduce((/** @type {number} */ product, /** @type {number} */ n) => product * n, Type.BYTES_PER_ELEMENT);
    expect(end <= size, `all of ${name.slice(0, 50)}`);
    // A copy: an array in place would have to begin at a multiple of its type's size.
    arrays.set(name, { data: new Type(content.buffer.slice(start, end)), type, shape });
    start = end;
  }
  expect(start === size, "nothing after its arrays");
  return { header, arrays };
}

/**
 * The content: no more than `size` bytes are ever held, and nothing is allocated in advance.
 * @param {Uint8Array<ArrayBuffer>} compressed
 * @param {number} size
 */
async function inflated(compressed, size) {
  const parts = [];
  let filled = 0;
  const reader = new Blob([compressed]).stream().pipeThrough(new DecompressionStream("deflate")).getReader();
  try {
    for (let { done, value } = await reader.read(); !done && value; { done, value } = await reader.read()) {
      filled += value.length;
      expect(filled <= size, `${size} bytes of content`);
      parts.push(value);
    }
  } catch (error) {
    await reader.cancel().catch(() => {});
    if (error instanceof FormatError) throw error;
    throw new FormatError("This snapshot cannot be read: expected undamaged, compressed content.");
  }
  expect(filled === size, `${size} bytes of content, got ${filled}`);
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}

/**
 * @param {Map<string, Stored>} arrays
 * @param {string} name
 * @param {string} type
 * @param {number[]} shape
 */
function stored(arrays, name, type, shape) {
  const found = arrays.get(name);
  expect(found && found.type === type && String(found.shape) === String(shape), `${name} as ${type} ${shape}`);
  return found.data;
}

/**
 * @param {Record<string, unknown>} header
 * @param {string} name
 * @returns {string[]}
 */
function texts(header, name) {
  const found = header[name];
  expect(Array.isArray(found) && found.every((text) => typeof text === "string"), `texts as ${name}`);
  return found;
}
