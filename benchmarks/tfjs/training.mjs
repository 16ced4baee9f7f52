// The MLP's training step in TF.js on WebAssembly: `node training.mjs STEPS ROUNDS`.
// Prints the milliseconds of a step, round by round, as JSON.
import { createRequire } from "node:module";
import path from "node:path";

import * as tf from "@tensorflow/tfjs";
import { setThreadsCount, setWasmPaths } from "@tensorflow/tfjs-backend-wasm";

const [steps, rounds] = process.argv.slice(2).map(Number);
const require = createRequire(import.meta.url);
setWasmPaths(path.dirname(require.resolve("@tensorflow/tfjs-backend-wasm")) + "/");
setThreadsCount(2);
await tf.setBackend("wasm");
await tf.ready();

const model = tf.sequential({
  layers: [
    tf.layers.dense({ units: 128, activation: "relu", inputShape: [64] }),
    tf.layers.dense({ units: 128, activation: "relu" }),
    tf.layers.dense({ units: 10, activation: "softmax" }),
  ],
});
model.compile({ optimizer: tf.train.adam(1e-3), loss: "categoricalCrossentropy" });
const x = tf.randomNormal([32, 64]);
const classes = Array.from({ length: 32 }, (_, i) => i % 10);
const y = tf.oneHot(tf.tensor1d(classes, "int32"), 10);

const times = [];
for (let round = 0; round <= rounds; round++) {
  const start = performance.now();
  for (let i = 0; i < steps; i++) await model.trainOnBatch(x, y);
  if (round > 0) times.push((performance.now() - start) / steps); // the first one warms up
}
console.log(JSON.stringify(times));
