/** Each role against a peer that does not keep to the protocol: an error by name, and nothing that runs twice. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { runDestination } from './destination.ts';
import { type DestinationMessage, PROTOCOL_VERSION, type SourceMessage } from './messages.ts';
import type { ModeName } from './modes.ts';
import type { DestinationOutcome, SourceOutcome } from './outcome.ts';
import type { Channel } from './ports.ts';
import { runSource } from './source.ts';
import { Life } from './test-kit/life.ts';
import { destinationPorts, MIGRATION, sourcePorts } from './test-kit/scenario.ts';
import { World } from './test-kit/world.ts';

const OPTIONS = {
  deadlines: { stepMs: 200, ownedMs: 100, holdMs: 50, handOverMs: 300, retryMs: 64 },
  chunkBytes: 8192,
};

const { id: migrationId, ...hello } = MIGRATION;
const HELLO: SourceMessage = { type: 'HELLO', version: PROTOCOL_VERSION, migrationId, ...hello };
const IMAGE: SourceMessage = { type: 'IMAGE', totalBytes: 8, offset: 0, bytes: new Uint8Array(8) };
const PAGES: SourceMessage = { type: 'PAGES', ranges: [{ start: 0n, length: 4096 }], bytes: new Uint8Array(4096) };
const END: SourceMessage = { type: 'END', pageBytes: 4096n };
const TAKE: SourceMessage = { type: 'TAKE', expectedEpoch: 7n };

/** Says these messages, whatever it hears, then listens to the end. */
async function recite<Out, In>(channel: Channel<Out, In>, lines: readonly Out[]): Promise<In[]> {
  const heard: In[] = [];
  for (const line of lines) await channel.send(line);
  try {
    for (;;) heard.push(await channel.receive(1_000));
  } catch {
    channel.close();
    return heard;
  }
}

async function destinationHears(lines: readonly SourceMessage[], mode: ModeName = 'stopcopy') {
  const world = new World({ seed: 1, mode });
  world.listening = true;
  const role = runDestination(destinationPorts(world, new Life()), { ...MIGRATION, mode }, OPTIONS);
  const play = async (): Promise<{ outcome: DestinationOutcome; heard: DestinationMessage[] }> => {
    const heard = await recite(await world.connect(), lines);
    return { outcome: await role, heard };
  };
  return { ...(await world.clock.run(play())), world };
}

async function sourceHears(lines: readonly DestinationMessage[], before: (world: World) => void = () => {}) {
  const world = new World({ seed: 1, mode: 'stopcopy' });
  world.listening = true;
  before(world);
  const role = runSource(sourcePorts(world, new Life()), MIGRATION, OPTIONS);
  const play = async (): Promise<{ outcome: SourceOutcome; heard: SourceMessage[] }> => {
    const heard = await recite(await world.accept(1_000), lines);
    world.listening = false;
    return { outcome: await role, heard };
  };
  return { ...(await world.clock.run(play())), world };
}

const nothingReplayed = { replayed: 0, compared: 0, released: 0 };

test('a source that says the wrong thing before TAKE: refused by name, nothing left', async () => {
  const cases: readonly (readonly [string, readonly SourceMessage[], RegExp])[] = [
    ['no HELLO', [IMAGE], /vm1 sent IMAGE where HELLO was expected/],
    ['pages first', [HELLO, PAGES], /vm1 sent PAGES where IMAGE was expected/],
    [
      'another version',
      [{ ...HELLO, version: 99 }],
      new RegExp(`version of the protocol is 99, ${PROTOCOL_VERSION} was expected`),
    ],
    [
      'an image with a hole',
      [HELLO, { ...IMAGE, offset: 4, bytes: new Uint8Array(4) }],
      /part 4 of an image of 8 bytes, where 0 of 8/,
    ],
    [
      'an image of two lengths',
      [HELLO, { ...IMAGE, bytes: new Uint8Array(4) }, { ...IMAGE, totalBytes: 9, offset: 4, bytes: new Uint8Array(4) }],
      /part 4 of an image of 9/,
    ],
    ['an image that does not get on', [HELLO, { ...IMAGE, bytes: new Uint8Array(0) }], /an empty part/],
    [
      'another sum',
      [HELLO, IMAGE, PAGES, { ...END, pageBytes: 8192n }],
      /4096 bytes of pages have come, END says 8192/,
    ],
    ['TAKE in the middle', [HELLO, IMAGE, PAGES, TAKE], /vm1 sent TAKE where PAGES or END was expected/],
    [
      'TAKE of another epoch',
      [HELLO, IMAGE, PAGES, END, { ...TAKE, expectedEpoch: 6n }],
      /TAKE for epoch 6, this migration is at 7/,
    ],
    [
      'ABORT',
      [HELLO, IMAGE, { type: 'ABORT', code: 'aborted', message: 'the operator', hint: '' }],
      /vm1 gave up: the operator/,
    ],
    ['silence', [HELLO, IMAGE], /took longer than 200 ms|in time/],
  ];
  for (const [name, lines, expected] of cases) {
    const { outcome, heard, world } = await destinationHears(lines);
    assert.equal(outcome.outcome, 'discarded', name);
    assert.ok('error' in outcome);
    assert.match(outcome.error.message, expected, name);
    const failed = heard.find((message) => message.type === 'FAILED');
    assert.ok(failed !== undefined && expected.test(failed.message), `${name}: the source is told`);
    assert.deepEqual(world.record, { owner: 'vm1', epoch: 7n }, name);
    assert.equal(world.destination.hasProcess, false, name);
    assert.equal(world.destination.holds, false, name);
    assert.equal(world.destination.journal, undefined, name);
  }
});

test('memory that came before its process and is not said to be its own is not believed', async () => {
  const own: SourceMessage = { type: 'OWN', ranges: [{ start: 4096n, length: 4096 }] };
  const cases: readonly (readonly [readonly SourceMessage[], RegExp])[] = [
    [[PAGES, IMAGE, PAGES, END], /PAGES behind the image, and no OWN before them/],
    [[PAGES, IMAGE, { ...END, pageBytes: 0n }], /no OWN before them/],
    [[PAGES, IMAGE, PAGES, own, END], /no OWN before them/],
    [[PAGES, IMAGE, own, PAGES, own, END], /OWN behind PAGES/],
    [[PAGES, IMAGE, own, PAGES, END], /1 pages of the process have not come, such as 0x1000/],
    [[PAGES, END], /vm1 sent END where PAGES or IMAGE was expected/],
  ];
  for (const mode of ['replicated', 'precopy'] as const)
    for (const [lines, expected] of cases) {
      const { outcome, world } = await destinationHears([{ ...HELLO, mode }, ...lines], mode);
      assert.ok(outcome.outcome === 'discarded' && 'error' in outcome);
      assert.match(outcome.error.message, expected, mode);
      assert.equal(world.destination.hasProcess, false);
    }
});

test('a source that hands over wrongly numbered datagrams is not believed, and the destination owns all the same', async () => {
  const datagram = {
    sourceAddress: Uint8Array.of(10, 0, 0, 9),
    sourcePort: 1,
    destinationAddress: Uint8Array.of(10, 88, 0, 5),
    destinationPort: 2,
    payload: Buffer.from([1, 0, 0, 0]),
  };
  for (const wrong of [
    { type: 'DATAGRAMS', first: 5, datagrams: [datagram] },
    { type: 'DRAINED', total: 3 },
    END,
  ] satisfies SourceMessage[]) {
    // The instance at the source is out of the way: this is about the destination alone.
    const world = new World({ seed: 1, mode: 'stopcopy' });
    world.listening = true;
    const role = runDestination(destinationPorts(world, new Life()), MIGRATION, OPTIONS);
    const play = async (): Promise<DestinationOutcome> => {
      await world.source.stoppedProcess().kill();
      await recite(await world.connect(), [HELLO, IMAGE, PAGES, END, TAKE, wrong]);
      return role;
    };
    const outcome = await world.clock.run(play());
    assert.ok(outcome.outcome === 'owned');
    assert.deepEqual(outcome.datagrams, { injected: 0, held: 0, complete: false });
    assert.match(outcome.leftovers[0]?.message ?? '', /taking over datagrams: /);
    assert.equal(world.destination.runs, true);
    assert.equal(world.destination.holds, false);
  }
});

test('a destination that says the wrong thing before TAKE: the source runs on, and nobody was asked', async () => {
  const welcome: DestinationMessage = { type: 'WELCOME', version: PROTOCOL_VERSION };
  const ready: DestinationMessage = { type: 'READY', beginMicros: 0, pagesMicros: 0, finishMicros: 0 };
  const cases: readonly (readonly [readonly DestinationMessage[], RegExp])[] = [
    [[ready], /vm2 sent READY where WELCOME was expected/],
    [[{ ...welcome, version: 9 }], /vm2 speaks version 9/],
    [[welcome, welcome], /vm2 sent WELCOME where READY was expected/],
    [
      [welcome, { type: 'OWNED', epoch: 8n, takeMicros: 0, runMicros: 0, ...nothingReplayed }],
      /vm2 sent OWNED where READY was expected/,
    ],
    [
      [welcome, { type: 'FAILED', code: 'image.kernel-mismatch', message: 'another kernel', hint: 'Use the same.' }],
      /vm2 gave up: another kernel/,
    ],
  ];
  for (const [lines, expected] of cases) {
    const { outcome, heard, world } = await sourceHears(lines);
    assert.ok(outcome.outcome === 'stayed');
    assert.match(outcome.error.message, expected);
    assert.ok(
      heard.some((message) => message.type === 'ABORT'),
      'the destination is told',
    );
    assert.ok(!heard.some((message) => message.type === 'TAKE'));
    assert.equal(world.source.runs, true);
    assert.deepEqual(world.record, { owner: 'vm1', epoch: 7n });
  }
});

test('the code and the hint of a destination that refuses are the ones that the operator sees', async () => {
  const refusal: DestinationMessage = {
    type: 'FAILED',
    code: 'image.kernel-mismatch',
    message: 'x',
    hint: 'Use the same.',
  };
  const known = await sourceHears([{ type: 'WELCOME', version: PROTOCOL_VERSION }, refusal]);
  assert.ok(known.outcome.outcome === 'stayed');
  assert.equal(known.outcome.error.code, 'image.kernel-mismatch');
  assert.equal(known.outcome.error.hint, 'Use the same.');
  const unknown = await sourceHears([
    { type: 'WELCOME', version: PROTOCOL_VERSION },
    { ...refusal, code: 'of.tomorrow' },
  ]);
  assert.ok(unknown.outcome.outcome === 'stayed');
  assert.equal(unknown.outcome.error.code, 'peer.refused');
});

test('behind TAKE no word but OWNED counts: the source fences before it runs on', async () => {
  const upToReady: readonly DestinationMessage[] = [
    { type: 'WELCOME', version: PROTOCOL_VERSION },
    { type: 'READY', beginMicros: 0, pagesMicros: 0, finishMicros: 0 },
  ];
  const words: readonly DestinationMessage[] = [
    { type: 'FAILED', code: 'aborted', message: 'I did not take it', hint: '' },
    { type: 'OWNED', epoch: 9n, takeMicros: 0, runMicros: 0, ...nothingReplayed },
    { type: 'GIVEN_BACK', epoch: 9n, code: 'process.gone', message: 'gone', hint: '' },
    { type: 'READY', beginMicros: 0, pagesMicros: 0, finishMicros: 0 },
  ];
  for (const word of words) {
    const { outcome, world } = await sourceHears([...upToReady, word]);
    assert.ok(outcome.outcome === 'stayed', word.type);
    assert.equal(outcome.epoch, 8n);
    assert.deepEqual(world.record, { owner: 'vm1', epoch: 8n });
    assert.equal(world.source.runs, true);
  }
});

test('a record that no migration can have written: the process stays stopped, and the journal stays', async () => {
  const { outcome, world } = await sourceHears(
    [
      { type: 'WELCOME', version: PROTOCOL_VERSION },
      { type: 'READY', beginMicros: 0, pagesMicros: 0, finishMicros: 0 },
    ],
    (empty) => {
      empty.record = { owner: 'vm1', epoch: 3n };
    },
  );
  assert.ok(outcome.outcome === 'halted');
  assert.equal(outcome.error.code, 'ownership.lost');
  assert.match(outcome.error.message, /names vm1 at epoch 3; this migration began at vm1, epoch 7/);
  assert.equal(world.source.hasProcess, true);
  assert.equal(world.source.runs, false);
  assert.equal(world.source.journal?.stage, 'offered');
});
