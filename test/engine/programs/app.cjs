// A UDP server with threads, timers and everything else that a Node program has going on.
const dgram = require('node:dgram');
const fs = require('node:fs');
const crypto = require('node:crypto');
const { spawn } = require('node:child_process');
const { Worker } = require('node:worker_threads');

const started = process.hrtime.bigint();
let count = 0;
let ticks = 0;
let churned = 0;
setInterval(() => ticks++, 20);
// Garbage, so that the collector's threads have work.
setInterval(() => {
  const objects = [];
  for (let index = 0; index < 2000; index++) objects.push({ index, text: `object ${index}` });
  churned += objects.length;
}, 5);
const worker = new Worker('const {parentPort}=require("node:worker_threads");let n=0;parentPort.on("message",()=>parentPort.postMessage(++n))', {
  eval: true,
});

const run = (command) =>
  new Promise((resolve) => {
    let output = '';
    const child = spawn('/bin/sh', ['-c', command]);
    child.stdout.on('data', (data) => (output += data));
    child.on('close', (code) => resolve(`${output.trim()} ${code}`));
  });

/** Exercises what a restore may have broken. */
async function check() {
  const file = await fs.promises.readFile(__filename);
  const key = await new Promise((resolve, reject) => {
    crypto.pbkdf2('a', 'b', 1000, 32, 'sha256', (error, bytes) => (error ? reject(error) : resolve(bytes)));
  });
  const child = await run('echo out; exit 3');
  const answered = await new Promise((resolve) => {
    worker.once('message', resolve);
    worker.postMessage('');
  });
  const kept = [];
  for (let index = 0; index < 300_000; index++) kept.push({ index });
  await new Promise((resolve) => setTimeout(resolve, 10));
  const before = Date.now();
  return JSON.stringify({
    file: file.length === fs.statSync(__filename).size,
    key: key.toString('hex').slice(0, 8),
    child,
    worker: answered > 0,
    kept: kept.length,
    pid: process.pid,
    clocks: Math.abs(before - Date.now()) < 1000 && process.hrtime.bigint() > started,
  });
}

const socket = dgram.createSocket('udp4');
socket.on('message', async (message, { port, address }) => {
  const text = message.toString();
  count++;
  const reply = (body) => socket.send(body, port, address);
  if (text === 'check') reply(await check());
  else if (text === 'ticks') reply(String(ticks));
  else if (text === 'churned') reply(String(churned));
  else reply(`${BigInt(text) * BigInt(text)} ${count}`);
});
socket.bind(Number(process.argv[2]), '127.0.0.1');
