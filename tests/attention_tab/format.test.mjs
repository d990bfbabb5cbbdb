import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { deflateSync } from "node:zlib";
import { FormatError, VERSION } from "../../attention_tab/static/blob.js";
import { decodeEncoding, decodeSnapshot } from "../../attention_tab/static/format.js";

const LARGEST_CONTENT = 2 ** 27;
const HEADER = { kind: "attention", tokens: ["a", "b"], heads: [1], metrics: ["previous"], candidates: ["x", "y"] };
const ARRAYS = {
  weights: ["uint8", [1, 3], Uint8Array.of(255, 0, 255)],
  metrics: ["float32", [1, 1], Float32Array.of(0.5)],
  loss: ["float32", [2], Float32Array.of(Number.NaN, 1)],
  likeliest: ["uint16", [2, 2], Uint16Array.of(0, 1, 1, 0)],
  probabilities: ["float32", [2, 2], Float32Array.of(0.5, 0.25, 0.5, 0.25)],
};

const u32 = (n) => new Uint8Array(Uint32Array.of(n).buffer);
const joined = (...parts) => new Uint8Array(Buffer.concat(parts));

/** A blob of any content. */
function sealed(content, { compressed = deflateSync(content), size = content.length, version = VERSION } = {}) {
  return joined(Buffer.from("ATTN"), u32(version), u32(size), compressed).buffer;
}

/** The content of a snapshot in which `header` and `arrays` replace what is right; undefined leaves out. */
function contentOf(header = {}, arrays = {}) {
  const kept = Object.entries({ ...ARRAYS, ...arrays }).filter(([, array]) => array);
  const listed = kept.map(([name, [type, shape]]) => [name, type, shape]);
  const head = Buffer.from(JSON.stringify({ ...HEADER, arrays: listed, ...header }));
  return joined(u32(head.length), head, ...kept.map(([, [, , data]]) => new Uint8Array(data.buffer)));
}

const snapshot = (header, arrays) => sealed(contentOf(header, arrays));

/** A blob of an encoding of one column, in which `header` replaces what is right. */
function encoding(header, data = Int16Array.of(32767, -32767)) {
  const arrays = [["values", "int16", [data.length, 1]]];
  const head = Buffer.from(
    JSON.stringify({ kind: "encoding", name: "learned", columns: ["c"], largest: 2, arrays, ...header }),
  );
  return sealed(joined(u32(head.length), head, new Uint8Array(data.buffer)));
}

/** Integers from 0 to n - 1, the same each time. */
function generator(seed) {
  let state = seed;
  return (n) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * n);
  };
}

/** `bytes` with as many of them changed, from the position `first` on. */
function corrupted(bytes, count, next, first = 0) {
  const copy = Uint8Array.from(bytes);
  const positions = new Set();
  while (positions.size < count) positions.add(first + next(bytes.length - first));
  for (const position of positions) copy[position] ^= 1 + next(255);
  return copy;
}

const refused = (blob, message = /./, decode = decodeSnapshot) =>
  assert.rejects(decode(blob), (error) => error instanceof FormatError && message.test(error.message));

/** As JSON has them. */
const plain = (numbers) => Array.from(numbers, (n) => (Number.isNaN(n) ? null : n));

const folder = process.env.SNAPSHOTS;
const written = (kind) => readdirSync(folder).filter((name) => name.endsWith(`.${kind}`));
const bytesOf = (name) => new Uint8Array(readFileSync(join(folder, name))).buffer;
const expectedOf = (name) => JSON.parse(readFileSync(join(folder, `${name}.json`), "utf-8"));
const byPython = { skip: !folder && "SNAPSHOTS names no folder; test_javascript.py writes one" };

test("snapshots are read as Python wrote them", byPython, async () => {
  const names = written("snapshot");
  assert.ok(names.length > 3);
  for (const name of names) {
    const found = await decodeSnapshot(bytesOf(name));
    const read = {
      ...found,
      levels: [...found.levels],
      metrics: Object.fromEntries([...found.metrics].map(([metric, values]) => [metric, plain(values)])),
      loss: plain(found.loss),
      likeliest: [...found.likeliest],
      probabilities: [...found.probabilities],
      chance: Object.fromEntries(
        [...found.chance].map(([metric, value]) => [metric, Number.isNaN(value) ? null : value]),
      ),
      valueNorms: found.valueNorms && plain(found.valueNorms),
      lens: found.lens && {
        ...found.lens,
        likeliest: [...found.lens.likeliest],
        probabilities: Array.from(found.lens.probabilities, (p) => Math.round(255 * Math.sqrt(p))),
      },
    };
    assert.deepEqual(read, expectedOf(name), name);
  }
});

test("encodings are read as Python wrote them", byPython, async () => {
  const names = written("encoding");
  assert.ok(names.length > 3);
  for (const name of names) {
    const { values, ...rest } = await decodeEncoding(bytesOf(name));
    const { values: expected, ...others } = expectedOf(name);
    assert.deepEqual(rest, others, name);
    assert.equal(values.length, expected.length, name);
    for (const [i, value] of values.entries()) assert.ok(Math.abs(value - expected[i]) <= 1e-6 * rest.largest, name);
  }
});

test("version 1, which had a checksum of its own, is still read", async () => {
  const whole = new Uint8Array(snapshot());
  const old = joined(Buffer.from("ATTN"), u32(1), u32(0), whole.subarray(8)).buffer;
  assert.deepEqual(await decodeSnapshot(old), await decodeSnapshot(whole.buffer));
});

test("induction of versions that had no chance is that on a random string", async () => {
  const namesOf = async (arrays) => [
    ...(await decodeSnapshot(snapshot({ metrics: ["induction"] }, arrays))).metrics.keys(),
  ];
  assert.deepEqual(await namesOf({}), ["induction_random"]);
  assert.deepEqual(await namesOf({ chance: ["float32", [1], Float32Array.of(0)] }), ["induction"]);
});

test("a snapshot of its own making is read", async () => {
  const { tokens, levels, names, metrics, loss, likeliest, probabilities, choices } = await decodeSnapshot(snapshot());
  assert.deepEqual([tokens, names, choices], [["a", "b"], ["1.1"], 2]);
  assert.deepEqual(
    [[...levels], [...likeliest]],
    [
      [255, 0, 255],
      [0, 1, 1, 0],
    ],
  );
  assert.deepEqual([metrics.get("previous")[0], plain(loss), probabilities[1]], [0.5, [null, 1], 0.25]);
});

test("each truncation is refused", async () => {
  const whole = snapshot();
  for (let size = 0; size < whole.byteLength; size++) await refused(whole.slice(0, size));
});

test("a snapshot with one to eight bytes changed is refused, or nothing that is read has changed", async () => {
  const whole = new Uint8Array(snapshot());
  const right = await decodeSnapshot(whole.buffer);
  const next = generator(1);
  let refusals = 0;
  for (let i = 0; i < 2000; i++) {
    const found = decodeSnapshot(corrupted(whole, i % 2 === 0 ? 1 : 2 + next(7), next).buffer);
    await found.then(
      (read) => assert.deepEqual(read, right), // zlib's level, or padding bits
      (error) => {
        assert.ok(error instanceof FormatError, error.stack);
        refusals++;
      },
    );
  }
  assert.ok(refusals > 1950, `${refusals}`);
});

test("changed content is refused or read, and nothing else", { timeout: 60_000 }, async () => {
  const content = contentOf();
  const next = generator(2);
  for (let i = 0; i < 2000; i++) {
    const compressed = deflateSync(content);
    const blob =
      i % 2 === 0
        ? sealed(corrupted(content, 1 + next(3), next))
        : sealed(content, { compressed: corrupted(compressed, 1 + next(3), next) });
    await decodeSnapshot(blob).catch((error) => assert.ok(error instanceof FormatError, error.stack));
  }
});

test("a newer version is named along with the one that is read", async () => {
  const blob = sealed(contentOf(), { version: VERSION + 1 });
  await refused(blob, new RegExp(`format 1 to ${VERSION}, got ${VERSION + 1}\\b`));
});

test("what does not begin as a snapshot does is refused", async () => {
  const blob = snapshot();
  new Uint8Array(blob)[0] = 0x42;
  await refused(blob, /first four bytes/);
  await refused(new ArrayBuffer(0), /at least 16 bytes, got 0/);
});

test("a size beyond the largest is refused before anything is unpacked", async () => {
  for (const size of [LARGEST_CONTENT + 1, 2 ** 32 - 1, 0, 3])
    await refused(sealed(contentOf(), { size }), new RegExp(`at most ${LARGEST_CONTENT} bytes, got ${size}`));
});

test("content that is not of the announced size is refused", async () => {
  const content = contentOf();
  for (const size of [content.length - 1, content.length + 1, LARGEST_CONTENT])
    await refused(sealed(content, { size }), new RegExp(`${size} bytes of content`));
});

test("a bomb is unpacked no further than it announced", { timeout: 10_000 }, async (t) => {
  let given = 0;
  const Real = globalThis.DecompressionStream;
  class Counting {
    constructor(format) {
      const { writable, readable } = new Real(format);
      const transform = (chunk, controller) => {
        given += chunk.length;
        controller.enqueue(chunk);
      };
      this.writable = writable;
      this.readable = readable.pipeThrough(new TransformStream({ transform }));
    }
  }
  globalThis.DecompressionStream = Counting;
  t.after(() => {
    globalThis.DecompressionStream = Real;
  });
  const compressed = deflateSync(new Uint8Array(LARGEST_CONTENT));
  for (const size of [4, 1000, 2 ** 18]) {
    given = 0;
    await refused(sealed([], { compressed, size }), new RegExp(`${size} bytes of content`));
    assert.ok(size < given && given < size + 2 ** 19, `${given} for ${size}`);
  }
});

test("content that is not compressed is refused", async () => {
  const content = contentOf();
  await refused(sealed(content, { compressed: content }), /compressed content/);
  await refused(sealed(content, { compressed: new Uint8Array() }), /at least/);
});

test("bytes behind the compressed content are refused or change nothing", async () => {
  const content = contentOf(); // browsers refuse, as they must; Node 20 ignores them
  const right = await decodeSnapshot(snapshot());
  for (const more of [Buffer.from([0]), Buffer.from("trailing"), deflateSync(Buffer.from("more"))]) {
    const found = decodeSnapshot(sealed(content, { compressed: joined(deflateSync(content), more) }));
    await found.then(
      (read) => assert.deepEqual(read, right),
      (error) => assert.ok(error instanceof FormatError, error.stack),
    );
  }
});

test("bytes behind the arrays are refused", async () => {
  await refused(sealed(joined(contentOf(), Uint8Array.of(0))), /nothing after its arrays/);
});

test("a header beyond the end is refused", async () => {
  const content = contentOf();
  for (const length of [content.length - 3, 2 ** 31, 2 ** 32 - 1]) {
    content.set(u32(length));
    await refused(sealed(content), new RegExp(`a header of ${length} bytes`));
  }
});

test("a header that is no JSON object is refused", async () => {
  for (const head of [
    "",
    "{",
    "null",
    "1",
    '"attention"',
    "NaN",
    "[]",
    `${"[".repeat(1e5)}`,
    '{"kind":"attention"} x',
  ]) {
    const bytes = Buffer.from(head);
    await refused(sealed(joined(u32(bytes.length), bytes)), /a header in JSON|a snapshot of attention/);
  }
  const latin = Buffer.from('{"kind":"attention","tokens":["\xe9"],"arrays":[]}', "latin1");
  await refused(sealed(joined(u32(latin.length), latin)), /a header in JSON/);
});

test("a snapshot of another kind is refused", async () => {
  await refused(encoding(), /a snapshot of attention, got encoding/);
  await refused(snapshot(), /a snapshot of encoding, got attention/, decodeEncoding);
  for (const kind of [null, 1, [], {}, undefined, "attentionx"]) await refused(snapshot({ kind }), /of attention, got/);
});

test("a kind or a type that is no text is refused, whatever it is", async () => {
  const deep = `${"[".repeat(1e5)}${"]".repeat(1e5)}`;
  for (const odd of ['{"toString":1}', '{"toString":null,"valueOf":null}', deep]) {
    for (const head of [`{"kind":${odd},"arrays":[]}`, `{"kind":"attention","arrays":[["weights",${odd},[1]]]}`])
      await refused(sealed(joined(u32(head.length), Buffer.from(head))));
  }
});

test("arrays that are not a list of name, type and shape are refused", async () => {
  const wrong = [null, {}, "weights", 1, undefined, [1], [null], [[]], [["weights", "uint8"]], ["abc"]];
  for (const arrays of wrong) await refused(snapshot({ arrays }), /list of arrays|name, type and shape/);
  const listed = Object.entries(ARRAYS).map(([name, [type, shape]]) => [name, type, shape]);
  await decodeSnapshot(snapshot({ arrays: [...listed, ["more", "uint8", [0]]] }));
  await refused(snapshot({ arrays: [...listed, ["more", "uint8", [0], 1]] }), /name, type and shape/);
  for (const name of [1, null, {}, ["weights"]]) await refused(snapshot({ arrays: [[name, "uint8", [1]]] }));
});

test("types that no array has are refused", async () => {
  const types = ["constructor", "__proto__", "toString", "float64", "Uint8Array", "", null, 1, {}];
  for (const type of types)
    await refused(snapshot({}, { weights: [type, [1, 3], Uint8Array.of(1, 2, 3)] }), /name, type and shape/);
  await refused(snapshot({}, { weights: [["uint8"], [1, 3], Uint8Array.of(1, 2, 3)] }));
});

test("shapes that are not of whole numbers are refused", async () => {
  for (const shape of [[-1, 3], [-1, -3], [1.5, 2], ["1", 3], [[1], 3], [null, 3], [true, 3], "13", 3, null, {}])
    await refused(snapshot({}, { weights: ["uint8", shape, Uint8Array.of(1, 2, 3)] }), /name, type and shape/);
});

test("shapes beyond the content are refused", async () => {
  for (const shape of [
    [1e6, 1e6],
    [2 ** 53, 2 ** 53],
    [1e308, 1e308],
    [1e308, 1e308, 0],
    [2 ** 32, 2 ** 32],
  ])
    await refused(snapshot({}, { weights: ["uint8", shape, Uint8Array.of(1, 2, 3)] }), /name, type and shape/);
});

test("each array must be there, of its type and shape", async () => {
  for (const [name, [type, shape, data]] of Object.entries(ARRAYS)) {
    const other = type === "uint8" ? "int16" : "uint8";
    const bytes = new Uint8Array(data.buffer);
    const as = new RegExp(`expected ${name} as ${type}`);
    await refused(snapshot({}, { [name]: undefined }), name === "probabilities" ? /./ : as);
    await refused(snapshot({}, { [name]: [type, [...shape, 1], data] }), as);
    await refused(snapshot({}, { [name]: [type, [0, ...shape.slice(1)], new Uint8Array()] }), as);
    await refused(snapshot({}, { [name]: [other, [bytes.length / (other === "int16" ? 2 : 1)], bytes] }));
  }
});

test("lists of texts that are none are refused", async () => {
  for (const name of ["tokens", "metrics", "candidates"])
    for (const texts of [undefined, null, "ab", { 0: "a" }, [1, 2], ["a", null], [["a"], ["b"]]])
      await refused(snapshot({ [name]: texts }), new RegExp(`texts as ${name}`));
});

test("numbers of heads that are none are refused", async () => {
  for (const heads of [
    undefined,
    null,
    1,
    "1",
    [0],
    [0, 1],
    [2, -1],
    [1.5],
    ["1"],
    [[1]],
    [],
    [1e308, 1e308],
    [2 ** 28],
  ])
    await refused(snapshot({ heads }), /heads in each layer|a head and a character/);
  await refused(snapshot({ heads: [2] }), /weights as uint8 2,3/);
});

test("a snapshot of no characters, or with a token that is not one character, is refused", async () => {
  await refused(snapshot({ tokens: [] }), /a head and a character/);
  for (const token of ["", "ab", "e\u0301"])
    await refused(snapshot({ tokens: ["a", token] }), /tokens of one character/);
  await decodeSnapshot(snapshot({ tokens: ["😀", "\ud800"] }));
});

test("likely characters beyond the candidates are refused", async () => {
  for (const position of [2, 65535])
    await refused(snapshot({}, { likeliest: ["uint16", [2, 2], Uint16Array.of(0, 1, 1, position)] }), /candidates/);
  await refused(snapshot({ candidates: [] }), /candidates/);
});

test("an encoding says what its largest value is", async () => {
  assert.deepEqual([...(await decodeEncoding(encoding())).values], [2, -2]);
  for (const largest of [0, -1, "2", null, undefined, [2]])
    await refused(encoding({ largest }), /largest value/, decodeEncoding);
  const overflowing = JSON.stringify({
    kind: "encoding",
    name: "x",
    columns: [],
    arrays: [["values", "int16", [0, 0]]],
    largest: 1,
  }).replace('"largest":1', '"largest":1e999');
  await refused(sealed(joined(u32(overflowing.length), Buffer.from(overflowing))), /largest value/, decodeEncoding);
});

test("an encoding has a name, its columns and their values", async () => {
  for (const name of [undefined, null, 1, ["x"]]) await refused(encoding({ name }), /a name/, decodeEncoding);
  for (const columns of [undefined, "c", [1]]) await refused(encoding({ columns }), /texts as columns/, decodeEncoding);
  await refused(encoding({ columns: ["c", "d"] }), /values as int16 2,2/, decodeEncoding);
  await refused(encoding({ arrays: [] }, new Int16Array()), /values as int16/, decodeEncoding);
});
