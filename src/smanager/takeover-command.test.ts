/** What an operator is told who has a copy take over, and why he is refused. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Command } from 'commander';
import { ComicranError } from '../base/errors.ts';
import type { Fleet } from './fleet.ts';
import { addTakeoverCommand } from './takeover-command.ts';

const silent = async (): Promise<never> => {
  throw new ComicranError('vm.unreachable', 'it does not answer');
};
const TAKEN = {
  ...{ fromVm: 'vm1', toVm: 'vm2', epoch: 8n, gapUs: 12_345_678n, inputsReplayed: 1024n, outputsCompared: 1022n },
  ...{ outputsReleased: 2n, mayRepeat: 1n },
};

/** @param info of vm1's daemon. @param states of the sandbox at vm2 */
async function run(words: readonly string[], info: () => Promise<object> = silent, states = ['arriving']) {
  const asked: object[] = [];
  const sandboxes = states.map((state) => ({ name: 'square', state }));
  const vms = {
    vm1: { info, list: silent },
    vm2: {
      list: async () => ({ sandboxes }),
      async takeOver(request: object) {
        asked.push(request);
        return TAKEN;
      },
    },
  };
  const fleet = {
    vmNames: () => Object.keys(vms),
    endpointOf: () => '10.0.0.1:1',
    sdn: () => ({ locate: async () => ({ location: { vm: 'vm1' } }) }),
    vm: (name: keyof typeof vms) => vms[name],
  } as unknown as Fleet;
  const printed: string[] = [];
  const program = new Command('smanager').exitOverride();
  addTakeoverCommand(program, {
    fleet: async () => fleet,
    print: (text) => void printed.push(text),
    progress: () => undefined,
    progressColumns: () => undefined,
    nowUnixMs: () => 0,
    interrupted: () => new AbortController().signal,
  });
  await program.parseAsync(['takeover', 'square', ...words], { from: 'user' });
  return { text: printed.join(''), asked };
}

test('the copy takes over: what is told of it', async () => {
  const { text, asked } = await run(['--from-dead', 'vm1']);
  assert.deepEqual(asked, [{ name: 'square', fromVm: 'vm1', machineIsOff: false }]);
  assert.match(text, /^'square' runs on vm2 now \(epoch 8\): its copy there has taken over from vm1\n/);
  assert.match(
    text,
    /12\.3 s\n[\s\S]*1024 datagrams, and 1022 answers[\s\S]*2 answers, of which vm1 may have sent 1 as well/,
  );
  const json = await run(['--from-dead', 'vm1', '--machine-is-off', '--json']);
  assert.deepEqual(JSON.parse(json.text), {
    ...{ name: 'square', from: 'vm1', to: 'vm2', epoch: 8, gapUs: 12_345_678, inputsReplayed: 1024 },
    ...{ outputsCompared: 1022, outputsReleased: 2, mayRepeat: 1 },
  });
  assert.deepEqual(json.asked, [{ name: 'square', fromVm: 'vm1', machineIsOff: true }]);
});

test('a machine that answers, one that does not have it, and no copy: refused, with the next step', async () => {
  const cases: readonly [Promise<unknown>, RegExp, RegExp][] = [
    [
      run(['--from-dead', 'vm1'], async () => ({})),
      /the daemon of vm1 answers: vm1 is not dead/,
      /smanager migrate square/,
    ],
    [run(['--from-dead', 'vm2']), /'square' is on vm1, not on vm2/, /smanager ps/],
    [run(['--from-dead', 'vm1'], silent, []), /no machine has a copy of 'square'/, /vm1/],
    [run(['--from-dead', 'vm1'], silent, ['running']), /no machine has a copy of 'square'/, /vm1/],
  ];
  for (const [running, message, hint] of cases)
    await assert.rejects(running, (thrown: unknown) => {
      assert.ok(thrown instanceof ComicranError && thrown.code === 'migration.refused');
      assert.match(thrown.message, message);
      assert.match(thrown.hint ?? '', hint);
      return true;
    });
});
