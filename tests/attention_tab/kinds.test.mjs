import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { FormatError } from "../../attention_tab/static/blob.js";
import { decodeScores } from "../../attention_tab/static/scores.js";
import { decodeStatistics } from "../../attention_tab/static/statistics.js";

const folder = process.env.SNAPSHOTS;
const KINDS = { statistics: decodeStatistics, scores: decodeScores };
const byPython = { skip: !folder && "SNAPSHOTS names no folder; test_javascript.py writes one" };

const written = (kind) =>
  readdirSync(folder)
    .filter((name) => name.endsWith(`.${kind}`))
    .map((name) => [
      new Uint8Array(readFileSync(join(folder, name))).buffer,
      JSON.parse(readFileSync(join(folder, `${name}.json`), "utf-8")),
    ]);

/** As JSON has them. */
const plain = (value) => {
  if (ArrayBuffer.isView(value)) return Array.from(value, plain);
  if (Array.isArray(value)) return value.map(plain);
  if (value instanceof Map) return Object.fromEntries([...value].map(([name, each]) => [name, plain(each)]));
  if (value !== null && typeof value === "object")
    return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, plain(each)]));
  return Number.isNaN(value) ? null : value;
};

test("statistics are read as Python wrote them", byPython, async () => {
  for (const [blob, expected] of written("statistics")) assert.deepEqual(plain(await decodeStatistics(blob)), expected);
});

test("scores are read as Python wrote them", byPython, async () => {
  for (const [blob, expected] of written("scores")) {
    const found = plain(await decodeScores(blob));
    for (const [layer, wanted] of expected.layers.entries())
      for (const [name, values] of Object.entries(wanted).filter(([, each]) => Array.isArray(each))) {
        const read = found.layers[layer][name];
        assert.equal(read.length, values.length, name);
        for (const [i, value] of values.entries()) assert.ok(Math.abs(read[i] - value) < 1e-6, name);
        found.layers[layer][name] = values;
      }
    assert.deepEqual(found, expected);
  }
});

for (const [kind, decode] of Object.entries(KINDS)) {
  test(`each truncation of ${kind} is refused`, byPython, async () => {
    const [[blob]] = written(kind);
    for (let size = 0; size < blob.byteLength; size++)
      await assert.rejects(decode(blob.slice(0, size)), (error) => error instanceof FormatError);
  });

  test(`changed ${kind} are refused, or nothing that is read has changed`, byPython, async () => {
    const [[blob]] = written(kind);
    const right = await decode(blob);
    let refusals = 0;
    for (let i = 0; i < blob.byteLength; i++) {
      const copy = new Uint8Array(blob.slice(0));
      copy[i] ^= 1 + ((7 * i) % 255);
      await decode(copy.buffer).then(
        (read) => assert.deepEqual(read, right),
        (error) => {
          assert.ok(error instanceof FormatError, error.stack);
          refusals++;
        },
      );
    }
    assert.ok(refusals > 0.9 * blob.byteLength, `${refusals}`);
  });

  test(`another kind is no ${kind}`, byPython, async () => {
    const [[blob]] = written(kind === "scores" ? "statistics" : "scores");
    await assert.rejects(decode(blob), new RegExp(`a snapshot of ${kind}, got`));
  });
}
