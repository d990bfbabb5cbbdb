import assert from "node:assert/strict";
import { test } from "node:test";
import { css, diverging, ink, oklch, sequential } from "../../attention_tab/static/colour.js";

const THEMES = ["light", "dark"];
const HUES = [255, 30];
const SEQUENTIAL = THEMES.flatMap((theme) => HUES.map((hue) => [`${theme}, hue ${hue}`, sequential(theme, hue)]));
const DIVERGING = THEMES.map((theme) => [`${theme}, diverging`, diverging(theme)]);

// Severity 1.0 of Machado, Oliveira and Fernandes 2009, for linear RGB.
const BLIND = {
  protanopia: [
    [0.152286, 1.052583, -0.204868],
    [0.114503, 0.786281, 0.099216],
    [-0.003882, -0.048116, 1.051998],
  ],
  deuteranopia: [
    [0.367322, 0.860646, -0.227968],
    [0.280085, 0.672501, 0.047413],
    [-0.01182, 0.04294, 0.968881],
  ],
};

const at = (scale, i) => [...scale.subarray(4 * i, 4 * i + 3)];
const linear = (colour) =>
  colour.map((c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
const dot = (row, colour) => row.reduce((sum, x, i) => sum + x * colour[i], 0);

/** OKLab of linear RGB (Ottosson 2020). */
function oklab(rgb) {
  const [l, m, s] = [
    [0.4122214708, 0.5363325363, 0.0514459929],
    [0.2119034982, 0.6806995451, 0.1073969566],
    [0.0883024619, 0.2817188376, 0.6299787005],
  ].map((row) => Math.cbrt(dot(row, rgb)));
  return [
    0.2104542553 * l + 0.793617785 * m - 0.0040720468 * s,
    1.9779984951 * l - 2.428592205 * m + 0.4505937099 * s,
    0.0259040371 * l + 0.7827717662 * m - 0.808675766 * s,
  ];
}

const lightness = (colour) => oklab(linear(colour))[0];
const distance = (a, b) => Math.hypot(...oklab(a).map((x, i) => x - oklab(b)[i]));

/** How well one can be read on the other (WCAG 2, relative luminance). */
function contrast(a, b) {
  const [dark, bright] = [a, b].map((colour) => dot([0.2126, 0.7152, 0.0722], linear(colour))).sort((x, y) => x - y);
  return (bright + 0.05) / (dark + 0.05);
}

test("OKLab's colours come out as published", () => {
  for (const [polar, expected] of [
    [
      [0, 0, 0],
      [0, 0, 0],
    ],
    [
      [1, 0, 0],
      [255, 255, 255],
    ],
    [
      [0.62796, 0.25768, 29.234],
      [255, 0, 0],
    ],
    [
      [0.86644, 0.29483, 142.495],
      [0, 255, 0],
    ],
    [
      [0.45201, 0.31321, 264.052],
      [0, 0, 255],
    ],
  ])
    assert.deepEqual(oklch(...polar).map(Math.round), expected);
});

test("lightness changes evenly along the sequential scales", () => {
  for (const [name, scale] of SEQUENTIAL) {
    const along = Array.from({ length: 17 }, (_, i) => lightness(at(scale, Math.round((255 * i) / 16))));
    const mean = (along[16] - along[0]) / 16;
    assert.ok(Math.abs(mean) > 0.04, name);
    for (let i = 0; i < 16; i++) {
      const step = (along[i + 1] - along[i]) / mean;
      assert.ok(0.75 < step && step < 1.25, `${name}: step ${i} is ${step} of the mean`);
    }
  }
});

test("scales begin near the page's colour", () => {
  for (const hue of HUES) {
    assert.ok(lightness(at(sequential("light", hue), 0)) > 0.95);
    assert.ok(lightness(at(sequential("dark", hue), 0)) < 0.25);
  }
});

test("diverging scales are as light to either side of the middle", () => {
  for (const [name, scale] of DIVERGING)
    for (let i = 0; i < 128; i++) {
      const [less, more] = [lightness(at(scale, i)), lightness(at(scale, 255 - i))];
      assert.ok(Math.abs(less - more) < 0.01, `${name}: ${less} and ${more} at ${i}`);
    }
});

test("the middle of diverging scales has no colour", () => {
  for (const [name, scale] of DIVERGING)
    for (const i of [127, 128]) {
      const colour = at(scale, i);
      assert.ok(Math.max(...colour) - Math.min(...colour) <= 2, `${name}: ${colour}`);
    }
});

test("the ends of diverging scales are told apart by the colour blind too", () => {
  for (const [name, scale] of DIVERGING) {
    const ends = [at(scale, 0), at(scale, 255)].map(linear);
    assert.ok(distance(...ends) > 0.2, name);
    for (const [blindness, matrix] of Object.entries(BLIND)) {
      const seen = ends.map((colour) => matrix.map((row) => Math.min(1, Math.max(0, dot(row, colour)))));
      assert.ok(distance(...seen) > 0.2, `${name}, ${blindness}: ${distance(...seen)}`);
    }
  }
});

test("the colour blind are simulated: red and green of the same lightness are alike to them", () => {
  const pair = [oklch(0.65, 0.12, 40), oklch(0.65, 0.12, 130)].map(linear);
  for (const matrix of Object.values(BLIND)) {
    const seen = pair.map((colour) => matrix.map((row) => dot(row, colour)));
    assert.ok(distance(...seen) < distance(...pair) / 2);
  }
});

test("what is written can be read on every colour of every scale", () => {
  for (const [name, scale] of [...SEQUENTIAL, ...DIVERGING])
    for (let i = 0; i < 256; i++) {
      const written = { "#000": [0, 0, 0], "#fff": [255, 255, 255] }[ink(scale, i / 255)];
      const ratio = contrast(written, at(scale, i));
      assert.ok(ratio >= 4.5, `${name}: ${ratio} at ${i}`);
    }
});

test("shares are positions on the scale, and those beyond it its ends", () => {
  for (const [name, scale] of [...SEQUENTIAL, ...DIVERGING])
    for (const [share, i] of [
      [0, 0],
      [0.5, 128],
      [1, 255],
      [-3, 0],
      [7, 255],
    ]) {
      assert.equal(css(scale, share), `rgb(${at(scale, i).join(" ")})`, name);
      assert.equal(ink(scale, share), ink(scale, i / 255));
      assert.equal(scale[4 * i + 3], 255);
    }
});
