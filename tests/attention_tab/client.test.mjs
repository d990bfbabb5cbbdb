import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";
import { deflateSync } from "node:zlib";
import { Client, url } from "../../attention_tab/static/client.js";
import { VERSION } from "../../attention_tab/static/blob.js";
import { gather, resolved } from "../../attention_tab/static/gather.js";
import { initialView } from "../../attention_tab/static/view.js";

/** A step, written at a time that tells nothing. */
const moment = (step, time = 0.5) => ({ step, time });
const HELD = 2 ** 25; // bytes that a client may hold

const u32 = (n) => Buffer.from(Uint32Array.of(n).buffer);

function blobOf(header, ...arrays) {
  const head = Buffer.from(JSON.stringify(header));
  const content = Buffer.concat([u32(head.length), head, ...arrays]);
  return Buffer.concat([Buffer.from("ATTN"), u32(VERSION), u32(content.length), deflateSync(content)]);
}

/** A snapshot of one head and T characters: its weights take T (T + 1) / 2 bytes. */
function snapshotOf(T, metrics = []) {
  const size = (T * (T + 1)) / 2;
  const arrays = [
    ["weights", "uint8", [1, size]],
    ["metrics", "float32", [metrics.length, 1]],
    ["loss", "float32", [T]],
    ["likeliest", "uint16", [T, 0]],
    ["probabilities", "float32", [T, 0]],
  ];
  const texts = { tokens: Array(T).fill("a"), metrics, candidates: [] };
  return blobOf(
    { kind: "attention", heads: [1], ...texts, arrays },
    Buffer.alloc(size),
    Buffer.alloc(4 * metrics.length),
    Buffer.alloc(4 * T),
  );
}

const SMALL = snapshotOf(2);
const ENCODING = blobOf({
  kind: "encoding",
  name: "learned",
  columns: ["c"],
  largest: 1,
  arrays: [["values", "int16", [0, 1]]],
});

/** The addresses that were asked for, and what is answered. */
let asked;
let answer;

beforeEach(() => {
  asked = [];
  answer = () => new Response(SMALL);
  mock.method(globalThis, "fetch", async (address) => {
    asked.push(address);
    return answer(address);
  });
});

afterEach(() => mock.restoreAll());

const json = (content) => () => new Response(JSON.stringify(content));

/** What a client can be asked for, and the answer from which it comes. */
const QUESTIONS = {
  runs: [(client) => client.runs(), json({ run: { "attention_tab/text": 7 } })],
  steps: [(client) => client.steps("run", "tag", 7), json([[7, 0.5]])],
  curves: [(client) => client.curves("run", "previous", 7), json([[1, 1, [[7, 0.5]]]])],
  encoding: [(client) => client.encoding("run", "tag", moment(7)), () => new Response(ENCODING)],
  snapshot: [(client) => client.snapshot("run", "tag", moment(7)), () => new Response(SMALL)],
};

test("addresses carry any run, tag and step", () => {
  const query = { run: "a&b=#% +😀/'\"", tag: "attention_tab/x", step: 3 };
  const address = new URL(url("snapshot", query), "http://localhost/data/plugin/attention/");
  assert.equal(address.pathname, "/data/plugin/attention/snapshot");
  assert.equal(address.hash, "");
  assert.deepEqual(Object.fromEntries(address.searchParams), { ...query, step: "3" });
});

test("what TensorBoard answers is read", async () => {
  const client = new Client();
  const read = {};
  for (const [name, [ask, right]] of Object.entries(QUESTIONS)) {
    answer = right;
    read[name] = await ask(client);
  }
  assert.deepEqual(read.runs, { run: { "attention_tab/text": 7 } });
  assert.deepEqual(read.steps, [moment(7)]);
  assert.deepEqual(read.curves, [{ layer: 1, head: 1, points: [[7, 0.5]] }]);
  assert.deepEqual(read.encoding.columns, ["c"]);
  assert.deepEqual(read.snapshot.tokens, ["a", "a"]);
  const query = "run=run&tag=tag";
  assert.deepEqual(asked, [
    "runs?",
    `steps?${query}`,
    "curves?run=run&metric=previous",
    ...Array(2).fill(`snapshot?${query}&step=7`),
  ]);
});

test("a thousand snapshots leave no more than is allowed, those used last", async () => {
  const client = new Client();
  const large = snapshotOf(511);
  const bytes = (511 * 512) / 2;
  answer = () => new Response(large);
  for (let step = 0; step < 1000; step++) {
    await client.snapshot("run", "tag", moment(step));
    await client.snapshot("run", "tag", moment(0)); // is used again and again
    assert.ok(client.held.bytes <= HELD);
  }
  const room = Math.floor(HELD / bytes);
  assert.deepEqual(client.held, { snapshots: room, bytes: room * bytes });
  assert.equal(asked.length, 1000);
  for (const step of [0, 999, 1000 - room + 1]) await client.snapshot("run", "tag", moment(step));
  assert.equal(asked.length, 1000);
  await client.snapshot("run", "tag", moment(1000 - room));
  assert.equal(asked.length, 1001);
});

test("snapshots that come all at once are bounded too, in whatever order", async () => {
  const large = snapshotOf(511);
  const steps = Array.from({ length: 400 }, (_, step) => step);
  for (const turns of [(step) => step, (step) => 400 - step, (step) => (step * 171) % 400]) {
    const client = new Client();
    answer = async (address) => {
      const turn = turns(Number(new URL(address, "http://x").searchParams.get("step")));
      await new Promise((resolve) => setTimeout(resolve, turn));
      return new Response(large);
    };
    await Promise.all(steps.map((step) => client.snapshot("run", "tag", moment(step))));
    assert.ok(client.held.bytes <= HELD, `${client.held.bytes}`);
  }
});

test("a snapshot is fetched once, whatever asks for it meanwhile and later", async () => {
  const client = new Client();
  const [first, second] = await Promise.all([
    client.snapshot("run", "tag", moment(7)),
    client.snapshot("run", "tag", moment(7)),
  ]);
  assert.equal(first, second);
  assert.equal(await client.snapshot("run", "tag", moment(7)), first);
  assert.equal(asked.length, 1);
  await Promise.all([
    client.snapshot("run", "tag", moment(8)),
    client.snapshot("run", "other", moment(7)),
    client.snapshot("b", "tag", moment(7)),
  ]);
  assert.equal(asked.length, 4);
});

test("steps, curves and encoding are asked for once while the last step is the same", async () => {
  for (const name of ["steps", "curves", "encoding"]) {
    const [, right] = QUESTIONS[name];
    const asks = {
      steps: (client, time) => client.steps("run", "tag", time),
      curves: (client, time) => client.curves("run", "previous", time),
      encoding: (client, time) => client.encoding("run", "tag", moment(7, time)),
    };
    const ask = asks[name];
    const client = new Client();
    asked = [];
    answer = right;
    await Promise.all([ask(client, 7), ask(client, 7)]);
    await ask(client, 7);
    assert.equal(asked.length, 1, name);
    await ask(client, 8);
    await ask(client, 8);
    assert.equal(asked.length, 2, name);
    await ask(client, 7); // a run that was begun anew
    assert.equal(asked.length, 3, name);
  }
});

test("a new snapshot makes the tab fetch the curves of the shown metric and of those that form", async () => {
  const client = new Client();
  const tag = "attention_tab/validation";
  const shown = snapshotOf(2, ["entropy", "toString"]);
  answer = (address) => (address.startsWith("snapshot") ? new Response(shown) : json([[0, 0.5]])());
  for (const [metric, time] of [
    ["toString", 1],
    ["toString", 1],
    ["toString", 2],
    ["none such", 2], // the snapshot's first is shown
  ]) {
    const runs = { run: { [tag]: moment(0, time) } };
    await gather(client, runs, resolved({ ...initialView(), metric }, runs));
  }
  const each = ["toString", "previous", "induction"];
  assert.deepEqual(
    asked.filter((address) => address.startsWith("curves")).sort(),
    [...each, ...each, "entropy"].map((metric) => `curves?run=run&metric=${metric}`).sort(),
  );
});

test("runs are asked for each time", async () => {
  const client = new Client();
  answer = json({});
  await client.runs();
  await client.runs();
  assert.deepEqual(asked, ["runs?", "runs?"]);
});

/** Asks for the steps of each run and tag, and tells how often the server was asked. */
async function askedForSteps(pairs) {
  const client = new Client();
  answer = json([]);
  for (const [run, tag] of pairs) await client.steps(run, tag, 1);
  return asked.length;
}

test("each run and tag has its own steps", async () => {
  assert.equal(
    await askedForSteps([
      ["a", "b"],
      ["a", "c"],
      ["b", "b"],
      ["b", "a"],
      ["ab", ""],
      ["", "ab"],
    ]),
    6,
  );
});

test("runs and tags are told apart whatever they are called", async () => {
  assert.equal(
    await askedForSteps([
      ["a in b", "c"],
      ["b", "c in a"],
    ]),
    2,
  );
});

test("what has failed is asked for again the next time", async () => {
  for (const [name, [ask, right]] of Object.entries(QUESTIONS)) {
    const client = new Client();
    for (const wrong of [() => Promise.reject(new TypeError("no")), () => new Response("", { status: 500 })]) {
      asked = [];
      answer = wrong;
      await assert.rejects(ask(client));
      await assert.rejects(ask(client));
      assert.equal(asked.length, 2, name);
    }
    answer = right;
    await ask(client);
  }
});

test("a damaged snapshot is asked for again, and is not held", async () => {
  const client = new Client();
  answer = () => new Response(SMALL.subarray(0, SMALL.length - 1));
  await assert.rejects(client.snapshot("run", "tag", moment(7)), /cannot be read.*undamaged/);
  assert.deepEqual(client.held, { snapshots: 0, bytes: 0 });
  answer = () => new Response(SMALL);
  await client.snapshot("run", "tag", moment(7));
  assert.deepEqual(client.held, { snapshots: 1, bytes: 3 });
});

test("callers who wait for the same request are all told of its failure", async () => {
  const client = new Client();
  answer = () => new Response("gone", { status: 404 });
  const told = await Promise.allSettled([1, 2, 3].map(() => client.snapshot("run", "tag", moment(7))));
  assert.deepEqual(
    told.map(({ reason }) => reason?.message),
    Array(3).fill("TensorBoard says: gone"),
  );
  assert.equal(asked.length, 1);
});

test("a server that does not answer is put in words", async () => {
  answer = () => Promise.reject(new TypeError("Failed to fetch"));
  for (const [ask] of Object.values(QUESTIONS))
    await assert.rejects(ask(new Client()), { message: "TensorBoard does not answer. Is it still running?" });
});

test("a refusal is shown in the server's words, shortened", async () => {
  const says = async (body, status, expected) => {
    answer = () => new Response(body, { status });
    for (const [ask] of Object.values(QUESTIONS))
      await assert.rejects(ask(new Client()), { message: `TensorBoard says: ${expected}` });
  };
  await says("expected a step that was kept, got 7", 404, "expected a step that was kept, got 7");
  await says("", 503, "503");
  await says("x".repeat(1000), 500, "x".repeat(300));
});

test("an answer that breaks off is put in words", async () => {
  const broken = () =>
    new Response(
      new ReadableStream({
        start(controller) {
          controller.enqueue(Buffer.from("["));
          controller.error(new TypeError("terminated"));
        },
      }),
    );
  answer = broken;
  for (const [name, [ask]] of Object.entries(QUESTIONS)) await assert.rejects(ask(new Client()), /TensorBoard/, name);
});

test("an answer that is none of TensorBoard's is put in words", async () => {
  answer = () => new Response("<!doctype html><title>Log in</title>");
  for (const name of ["runs", "steps", "curves"])
    await assert.rejects(QUESTIONS[name][0](new Client()), /TensorBoard/, name);
});
