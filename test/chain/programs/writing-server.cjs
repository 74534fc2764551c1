/**
 * Answers as the project's own server does with --count, and writes into the directory of its first argument meanwhile: a log
 * that it appends to, a file that it writes over in place, and a journal that it begins again. It reads them all back again
 * and again, and says on standard output whether they are what its memory says they are.
 */
const fs = require('node:fs');
const { createSocket } = require('node:dgram');

const [directory, keepsOpen] = process.argv.slice(2);
const [log, place, journal] = ['log', 'place', 'journal'].map((name) => `${directory}/${name}`);
const LOOK_EACH = 250;
const JOURNAL_ENTRIES = 100;

const open = keepsOpen === 'open' ? [fs.openSync(log, 'a'), fs.openSync(place, 'w')] : [];
let count = 0;

function write() {
  const [toLog = fs.openSync(log, 'a'), toPlace = fs.openSync(place, count === 1 ? 'w' : 'r+')] = open;
  fs.writeSync(toLog, `${count}\n`);
  fs.writeSync(toPlace, placeText(), 0);
  if (open.length === 0) for (const fd of [toLog, toPlace]) fs.closeSync(fd);
  fs.writeFileSync(journal, '.', { flag: count % JOURNAL_ENTRIES === 1 ? 'w' : 'a' });
}

const placeText = () => String(count).padStart(12);

function look() {
  const lines = fs.readFileSync(log, 'utf8').trim().split('\n');
  const found = {
    log: lines.length === count && lines.every((line, index) => line === String(index + 1)),
    place: fs.readFileSync(place, 'utf8') === placeText(),
    journal: fs.readFileSync(journal, 'utf8').length === ((count - 1) % JOURNAL_ENTRIES) + 1,
  };
  console.log(count, Object.values(found).every(Boolean) ? 'right' : `WRONG ${JSON.stringify(found)}`);
}

const socket = createSocket('udp4');
socket.on('message', (text, { port, address }) => {
  count++;
  write();
  if (count % LOOK_EACH === 0) look();
  const number = BigInt(String(text));
  socket.send(`${number * number} ${count}`, port, address);
});
socket.bind(5006);
