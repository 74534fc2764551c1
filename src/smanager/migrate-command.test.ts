/** The migrate command as an operator types it, with a daemon that says what the test wants. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { Command } from 'commander';
import { MigrationEventSchema, PlanMigrationResponseSchema } from '../api/gen/comicran_pb.ts';
import { ComicranError } from '../base/errors.ts';
import { addCommands } from './commands.ts';
import type { Fleet } from './fleet.ts';

type EventInit = MessageInitShape<typeof MigrationEventSchema>;
type PlanInit = MessageInitShape<typeof PlanMigrationResponseSchema>;

const RESULT = {
  mode: 'stopcopy',
  fromVm: 'vm1',
  toVm: 'vm2',
  totalUs: 120_000n,
  stopUs: 70_000n,
  pages: 2801n,
  bytes: 11n << 20n,
  datagramsConfirmed: true,
};

const phase = (name: string, atUs: bigint, more: object = {}): EventInit => ({
  event: { case: 'phase', value: { phase: name, atUs, ...more } },
});

async function run(
  words: readonly string[],
  daemon: { events?: readonly EventInit[]; plan?: PlanInit; onMigrate?: () => void },
  columns?: number,
) {
  const asked: Record<string, unknown>[] = [];
  let [printed, progress, aborts] = ['', '', 0];
  const interrupt = new AbortController();
  const fleet = {
    vmNames: () => ['vm1', 'vm2'],
    look: { timeoutMs: 1000 },
    endpointOf: () => '10.71.2.2:7710',
    sdn: () => ({ locate: async () => ({ location: { vm: 'vm1' } }) }),
    vm: () => ({
      async *migrate(request: Record<string, unknown>) {
        asked.push(request);
        for (const event of daemon.events ?? []) {
          yield create(MigrationEventSchema, event);
          if (daemon.onMigrate !== undefined) interrupt.abort();
        }
      },
      planMigration: async () => create(PlanMigrationResponseSchema, daemon.plan ?? {}),
      abortMigration: async () => void aborts++,
    }),
    close: () => undefined,
  } as unknown as Fleet;
  const program = new Command().exitOverride().configureOutput({ writeErr: () => undefined });
  addCommands(program, {
    fleet: async () => fleet,
    print: (text) => {
      printed += text;
    },
    progress: (text) => {
      progress += text;
    },
    progressColumns: () => columns,
    nowUnixMs: () => 0,
    interrupted: () => interrupt.signal,
  });
  for (const command of program.commands) command.exitOverride().configureOutput({ writeErr: () => undefined });
  const line = words[0] === 'abort' ? words : ['migrate', ...words];
  const thrown = await program.parseAsync([...line], { from: 'user' }).then(
    () => undefined,
    (error: unknown) => error,
  );
  return { asked, printed, progress, thrown, aborts };
}

test('what is asked for reaches the daemon, and nothing that was not', async () => {
  const events: EventInit[] = [{ event: { case: 'result', value: RESULT } }];
  const plain = await run(['square', 'vm2'], { events });
  assert.equal(plain.thrown, undefined);
  assert.deepEqual(plain.asked[0], {
    ...{ name: 'square', toVm: 'vm2', toEndpoint: '10.71.2.2:7710', mode: '', fallback: '' },
    ...{ deadlineMs: 0, outputRule: false, uncomparedPorts: [], snapshot: '', takeOver: '' },
  });
  const words = [
    '--fallback',
    'none',
    '--output-rule',
    '--uncompared',
    '7000,7001',
    '--uncompared',
    '7000',
    '--snapshot',
    'fork',
  ];
  const full = await run(['square', '--to', 'vm2', ...words, '--deadline', '1.5'], { events });
  assert.deepEqual(full.asked[0], {
    ...{ name: 'square', toVm: 'vm2', toEndpoint: '10.71.2.2:7710', mode: '', fallback: 'none' },
    ...{ deadlineMs: 1500, outputRule: true, uncomparedPorts: [7000, 7001], snapshot: 'fork', takeOver: '' },
  });
});

test('what cannot be meant is refused before a daemon is asked', async () => {
  const cases: readonly (readonly [readonly string[], RegExp])[] = [
    [['square'], /to which machine/],
    [['square', 'vm2', '--to', 'vm1'], /to 'vm2' or to 'vm1'/],
    [['square', 'vm2', '--mode', 'magic'], /no mode 'magic'/],
    [['square', 'vm2', '--fallback', 'replicated'], /no fallback 'replicated'/],
    [['square', 'vm2', '--snapshot', 'camera'], /no snapshot 'camera'/],
    [['square', 'vm2', '--mode', 'precopy', '--snapshot', 'fork'], /--snapshot has no meaning in mode precopy/],
    [['square', 'vm2', '--mode', 'stopcopy', '--fallback', 'none'], /--fallback has no meaning in mode stopcopy/],
    [['square', 'vm2', '--mode', 'precopy', '--uncompared', '5'], /--uncompared has no meaning in mode precopy/],
    [['square', 'vm2', '--uncompared', '70000'], /a port from 1 to 65535/],
    [['square', 'vm2', '--deadline', '0'], /a time is expected/],
    [['square', 'vm2', '--deadline', '3h'], /a time is expected/],
  ];
  for (const [words, expected] of cases) {
    const { thrown, asked } = await run(words, {});
    assert.match(String(thrown), expected, words.join(' '));
    assert.deepEqual(asked, []);
  }
});

test('a result of a replicated migration says what was compared, and only what applies', async () => {
  const replicated = {
    ...{ freezeUs: 1_100n, cutoverUs: 400n, stopUs: 1_500n, inputsReplayed: 1234n, outputsCompared: 1230n },
    ...{ outputsReleased: 3n, lagMax: 45n, stragglers: 2n, datagramsCarried: 2n, mode: 'replicated' },
  };
  const events: EventInit[] = [{ event: { case: 'result', value: { ...RESULT, ...replicated } } }];
  const { printed } = await run(['square', 'vm2'], { events });
  assert.match(printed, /mode replicated\): stopped for 1\.5 ms \(freeze 1\.1 ms, cutover 400 µs\), 120 ms in all/);
  assert.match(printed, /1234 inputs replayed, 1230 outputs compared, 3 held and let go/);
  assert.match(printed, /45 datagrams[\s\S]*carried +2 datagrams that came to vm1 behind the cutover/);
  assert.doesNotMatch(printed, /straggler/, 'the same datagrams are told of once');
  assert.doesNotMatch(printed, /WARNING|waited for/);
  const json = JSON.parse((await run(['square', 'vm2', '--json'], { events })).printed);
  const { mode, freezeUs, cutoverUs, stopUs, stopMs, inputsReplayed, outputsCompared, pageFaults, reason } = json;
  assert.deepEqual(
    { mode, freezeUs, cutoverUs, stopUs, stopMs, inputsReplayed, outputsCompared, pageFaults, reason },
    {
      ...{ mode: 'replicated', freezeUs: 1100, cutoverUs: 400, stopUs: 1500, stopMs: 1.5 },
      ...{ inputsReplayed: 1234, outputsCompared: 1230, pageFaults: null, reason: null },
    },
  );
});

test('a fallback is told when it happens, and again in the result', async () => {
  const reason = 'the copy diverged at output 17 of flow 10.88.0.5:5006 > 10.70.0.2:4001';
  const fallback = { fromMode: 'replicated', toMode: 'stopcopy', code: 'replication.diverged', reason, atUs: 300_000n };
  const result = { ...RESULT, requestedMode: 'replicated', reasonCode: 'replication.diverged', reason };
  const events: EventInit[] = [
    phase('catch-up', 1000n),
    { event: { case: 'fallback', value: fallback } },
    { event: { case: 'result', value: result } },
  ];
  const { printed, progress, thrown } = await run(['square', 'vm2'], { events });
  assert.equal(thrown, undefined);
  assert.match(progress, /300 ms +replicated +is given up: its copy answered differently; going on with stopcopy/);
  assert.equal(`${progress}${printed}`.split('output 17').length, 2, 'the reason is told once');
  assert.match(printed, /WARNING: moved by stopcopy instead of replicated: the copy diverged at output 17 of flow/);
});

test('a divergence without a fallback says that the source was not touched, where it runs, and what to do', async () => {
  const value = { code: 'replication.diverged', message: 'the copy diverged at output 17', runsOn: 'vm1' };
  const { thrown, printed } = await run(['square', 'vm2', '--fallback', 'none', '--json'], {
    events: [{ event: { case: 'failure', value } }],
  });
  assert.ok(thrown instanceof ComicranError);
  assert.equal(thrown.code, 'replication.diverged');
  assert.match(thrown.message, /output 17; the source was not touched \(it runs on vm1\)/);
  assert.match(thrown.hint ?? '', /--uncompared/);
  assert.equal(JSON.parse(printed).failed.code, 'replication.diverged');
});

test('progress: on a terminal one line a phase that is written again, else a line a phase and one a second', async () => {
  const lag = { inputs: 3n, outputs: 1n };
  const events: EventInit[] = [
    phase('copy', 1000n, { doneBytes: 1n << 20n, totalBytes: 4n << 20n }),
    phase('copy', 51_000n, { doneBytes: 2n << 20n, totalBytes: 4n << 20n }),
    phase('copy', 1_101_000n, { doneBytes: 4n << 20n, totalBytes: 4n << 20n }),
    phase('follow', 1_200_000n, { lag }),
    phase('follow', 1_210_000n, { lag, note: 'the sdn does not answer' }),
    { event: { case: 'result', value: { ...RESULT, phases: [{ phase: 'follow', durationUs: 30_000n }] } } },
  ];
  const plain = (await run(['square', 'vm2'], { events })).progress;
  assert.deepEqual(plain.trimEnd().split('\n'), [
    '      1.1 s  copy       goes on  4.0 MiB of 4.0 MiB (100 %)',
    '     1.0 ms  copy       took 1.2 s, 4.0 MiB',
    '      1.2 s  follow     the sdn does not answer',
    '      1.2 s  follow     took 30.0 ms',
  ]);
  for (const columns of [80, 60, 20]) {
    const shown = screen((await run(['square', 'vm2'], { events }, columns)).progress, columns);
    assert.equal(shown.length, 3, 'two phases and a note');
    assert.match(shown[0]!, columns > 40 ? /copy +took 1\.2 s, 4\.0 MiB$/ : /copy/);
  }
  const unknown = (await run(['square', 'vm2'], { events }, 0)).progress;
  assert.match(unknown, /3 inputs, 1 output behind/, 'a terminal without a width is one of usual width');
});

/** What is left on a terminal; every line must fit, or it could not have been written again. */
function screen(text: string, columns: number): string[] {
  return text.split('\n').flatMap((line) => {
    const drawn = line.split('\r\x1b[K');
    assert.ok(
      drawn.every((each) => each.length < columns || each.includes('the sdn')),
      line,
    );
    return drawn.at(-1) === '' ? [] : [drawn.at(-1)!];
  });
}

test('a fill counts down, and bytes are told of where they move', async () => {
  const bytes = { doneBytes: 5n << 20n, totalBytes: 5n << 20n };
  const events: EventInit[] = [
    phase('restore', 1000n, bytes),
    phase('fill', 2000n, { ...bytes, missingBytes: 64n << 20n }),
    phase('fill', 3000n, { ...bytes, missingBytes: 3n << 20n }),
    { event: { case: 'result', value: RESULT } },
  ];
  const { progress } = await run(['square', 'vm2'], { events }, 60);
  assert.match(progress, /64 MiB still to come[\s\S]*3\.0 MiB still to come/);
  assert.doesNotMatch(progress, /100 %/);
});

test('after a fallback the times go on, and a failure of it says what was given up before', async () => {
  const reason = 'the copy diverged at output 17';
  const fallback = { fromMode: 'replicated', toMode: 'precopy', code: 'replication.diverged', reason, atUs: 300_000n };
  const events: EventInit[] = [
    phase('follow', 200_000n),
    { event: { case: 'fallback', value: fallback } },
    phase('connect', 100n),
    phase('copy', 50_000n),
    { event: { case: 'failure', value: { code: 'peer.died', message: 'vm2 is gone', runsOn: 'vm1' } } },
  ];
  const { progress, thrown } = await run(['square', 'vm2'], { events });
  assert.match(progress, /follow +not finished\n +300 ms +replicated[^\n]*\n +300 ms +connect[^\n]*\n +350 ms +copy/);
  assert.match(String(thrown), /vm2 is gone.*before that replicated was given up: the copy diverged at output 17/);
});

test('Ctrl-C asks for an end of the migration, whose outcome is still told', async () => {
  const events: EventInit[] = [
    phase('copy', 1000n),
    { event: { case: 'failure', value: { code: 'aborted', message: 'aborted on request', runsOn: 'vm1' } } },
  ];
  const { aborts, thrown, progress } = await run(['square', 'vm2'], { events, onMigrate: () => undefined });
  assert.equal(aborts, 1);
  assert.match(progress, /asking for an end/);
  assert.match(String(thrown), /aborted on request \(it runs on vm1\)/);
});

/** Milliseconds, from and to, as a plan has them. */
function spans(ranges: Partial<Record<'freeze' | 'stop' | 'total', readonly [number, number]>>): object {
  const micros = (value: number): bigint => BigInt(Math.round(value * 1000));
  const fields = Object.entries(ranges).flatMap(([name, [least, most]]) => [
    [`${name}Us`, micros(least)],
    [`${name}MaxUs`, micros(most)],
  ]);
  return Object.fromEntries(fields);
}

test('a dry run says how the snapshot would be taken, and what would happen if the copy answered differently', async () => {
  const plan: PlanInit = {
    modes: [
      {
        ...{ mode: 'replicated', possible: true, way: 'fork', whyWay: 'it is small' },
        ...spans({ freeze: [1.4, 5.6], stop: [2.4, 9.6], total: [90, 200] }),
      },
      { mode: 'precopy', possible: true, ...spans({ stop: [20, 80], total: [100, 200] }) },
    ],
  };
  const { printed } = await run(['square', 'vm2', '--dry-run'], { plan });
  assert.match(printed, /replicated +yes +1\.4 to 5\.6 ms +2\.4 to 9\.6 ms +90 to 200 ms\n/);
  assert.match(
    printed,
    /would be moved to vm2 by replicated\.\n +snapshot +fork: it is small\n +divergence +if its copy/,
  );
  assert.match(printed, /it is moved by precopy, with a stop of 20 to 80 ms\n/);
  const none = (await run(['square', 'vm2', '--dry-run', '--fallback', 'none'], { plan })).printed;
  assert.match(none, /and the migration fails\n/);
  const json = JSON.parse((await run(['square', 'vm2', '--dry-run', '--json'], { plan })).printed);
  const [{ way, whyWay, freezeUs, freezeMaxUs, stopMaxUs }] = json.modes;
  assert.deepEqual([way, whyWay, freezeUs, freezeMaxUs, stopMaxUs], ['fork', 'it is small', 1400, 5600, 9600]);
});

test('a dry run says what would be done, and fails where nothing could be', async () => {
  const plan: PlanInit = {
    modes: [
      { mode: 'replicated', possible: false, code: 'replication.unsuitable', whyNot: 'it has a TCP socket', hint: '' },
      { mode: 'precopy', possible: true, ...spans({ stop: [20, 80], total: [400, 1600] }) },
      { mode: 'stopcopy', possible: true, ...spans({ stop: [70, 300], total: [320, 900] }) },
    ],
    ...{ memoryBytes: 64n << 20n, threads: 7, descriptors: 20, loadPerCpu: 0.25 },
  };
  const { printed, asked, thrown } = await run(['square', 'vm2', '--dry-run'], { plan });
  assert.equal(thrown, undefined);
  assert.deepEqual(asked, []);
  assert.match(printed, /replicated +no +- +- +-\n/);
  assert.match(printed, /replicated: it has a TCP socket/);
  assert.match(printed, /precopy +yes +- +20 to 80 ms +400 ms to 1\.6 s\n/);
  assert.match(printed, /64 MiB of memory \(16384 pages\), 7 threads, 20 descriptors[\s\S]*load 0\.3 for each CPU/);
  assert.match(printed, /would be moved to vm2 by precopy\./);
  const json = JSON.parse((await run(['square', 'vm2', '--dry-run', '--json'], { plan })).printed);
  assert.equal(json.wouldUse, 'precopy');
  const strict = await run(['square', 'vm2', '--dry-run', '--fallback', 'none'], { plan });
  assert.match(strict.printed, /cannot be moved/);
  assert.match(String(strict.thrown), /it has a TCP socket/);
});

test('a dry run says once what holds for several modes, and gives no times where there are none', async () => {
  const frozen = {
    possible: false,
    code: 'migration.refused',
    whyNot: 'the sandbox square is frozen',
    hint: 'Thaw it.',
  };
  const plan = {
    modes: [
      { mode: 'replicated', ...frozen, whyNot: 'it has a TCP socket', hint: '' },
      { mode: 'postcopy', ...frozen },
      { mode: 'precopy', ...frozen },
    ],
    ...{ memoryBytes: 64n << 20n, threads: 7, descriptors: 20, loadPerCpu: 0.25 },
  };
  const { printed } = await run(['square', 'vm2', '--dry-run'], { plan });
  assert.match(
    printed,
    /\nreplicated: it has a TCP socket\npostcopy, precopy: the sandbox square is frozen\n {2}next: Thaw it\.\n\n/,
  );
  assert.match(printed, /cannot be moved to vm2\.\n\nNothing was changed\.\n$/);
});

test('an abort says whom it has asked, for programs too', async () => {
  assert.equal((await run(['abort', 'square'], {})).printed, "the migration of 'square' is being aborted\n");
  const { printed, aborts } = await run(['abort', 'square', '--json'], {});
  assert.deepEqual([JSON.parse(printed), aborts], [{ name: 'square', vm: 'vm1', state: 'aborting' }, 1]);
});
