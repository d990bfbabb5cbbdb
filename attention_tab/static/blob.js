// @ts-check
// The container of attention_tab/blob.py, for the browser.

export const VERSION = 3;
const MAGIC = 0x4e545441; // "ATTN", little-endian
const LEAST = 16; // bytes, of a blob of any version
const LARGEST_CONTENT = 2 ** 27;
const TYPES = { uint8: Uint8Array, uint16: Uint16Array, int16: Int16Array, float32: Float32Array };

/** @typedef {{[Name in keyof typeof TYPES]: InstanceType<(typeof TYPES)[Name]>}} Arrays by the names of their types */
/** @typedef {{data: Arrays[keyof Arrays], type: string, shape: number[]}} Stored */

/** The blob is no snapshot, or is damaged. */
export class FormatError extends Error {}

/** @param {unknown} holds @param {string} expected @returns {asserts holds} */
export function expect(holds, expected) {
  if (!holds) throw new FormatError(`This snapshot cannot be read: expected ${expected}.`);
}

/** @param {ArrayBuffer} blob @param {string} kind */
export async function unpacked(blob, kind) {
  expect(blob.byteLength >= LEAST, `at least ${LEAST} bytes, got ${blob.byteLength}`);
  const prelude = new DataView(blob);
  const version = prelude.getUint32(4, true);
  const offset = version === 1 ? 12 : 8; // version 1 had a CRC-32 in between
  const size = prelude.getUint32(offset, true);
  expect(prelude.getUint32(0, true) === MAGIC, "its first four bytes to say so");
  expect(
    version >= 1 && version <= VERSION,
    `format 1 to ${VERSION}, got ${version}; is TensorBoard of another version than training was?`,
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
    const Type =
      typeof type === "string" && Object.hasOwn(TYPES, type) ? TYPES[/** @type {keyof Arrays} */ (type)] : null;
    const whole = Array.isArray(shape) && shape.every((n) => Number.isInteger(n) && n >= 0 && n <= size);
    expect(typeof name === "string" && Type && whole, "name, type and shape of each array");
    let end = start + Type.BYTES_PER_ELEMENT;
    for (const n of shape) end = start + (end - start) * n;
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
 * @template {keyof Arrays} Type
 * @param {Map<string, Stored>} arrays
 * @param {string} name
 * @param {Type} type
 * @param {number[]} shape
 */
export function stored(arrays, name, type, shape) {
  const found = arrays.get(name);
  expect(found && found.type === type && String(found.shape) === String(shape), `${name} as ${type} ${shape}`);
  return /** @type {Arrays[Type]} */ (found.data);
}

/** @param {Record<string, unknown>} header @param {string} name @returns {string[]} */
export function texts(header, name) {
  const found = header[name];
  expect(Array.isArray(found) && found.every((text) => typeof text === "string"), `texts as ${name}`);
  return found;
}

/**
 * Heads in each layer, and their names: layer.head, counted from 1.
 * @param {Record<string, unknown>} header
 */
export function headsOf(header) {
  const heads = /** @type {number[]} */ (header.heads);
  expect(Array.isArray(heads) && heads.every((count) => Number.isInteger(count) && count > 0), "heads in each layer");
  const N = heads.reduce((sum, count) => sum + count, 0);
  expect(N > 0 && N <= LARGEST_CONTENT, "a head and a character at least");
  const names = heads.flatMap((count, layer) => Array.from({ length: count }, (_, head) => `${layer + 1}.${head + 1}`));
  return { heads, names };
}

/** The length of a text whose tokens have one character each. @param {string[]} tokens */
export function lengthOf(tokens) {
  const single = tokens.every((token) => [...token].length === 1);
  expect(single, "tokens of one character each");
  expect(tokens.length > 0, "a head and a character at least");
  return tokens.length;
}

/** The rows of an array by their names. @param {string[]} names @param {Float32Array} values */
export function rowsOf(names, values) {
  const size = values.length / names.length;
  return new Map(names.map((name, i) => [name, values.subarray(i * size, (i + 1) * size)]));
}

/**
 * Values from fractions of the largest.
 * @param {Uint16Array | Int16Array} fractions
 * @param {unknown} largest
 * @param {number} whole the fraction that stands for the largest
 */
export function restored(fractions, largest, whole) {
  expect(typeof largest === "number" && largest > 0 && Number.isFinite(largest), "the largest value");
  return Float32Array.from(fractions, (fraction) => (fraction / whole) * largest);
}

/**
 * The indices of likely characters.
 * @param {Map<string, Stored>} arrays
 * @param {string} name
 * @param {number[]} shape
 * @param {string[]} candidates
 */
export function indices(arrays, name, shape, candidates) {
  const found = stored(arrays, name, "uint16", shape);
  const known = found.every((index) => index < candidates.length);
  expect(known, "likely characters among the candidates");
  return found;
}
