import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import type { Fleet } from './fleet.ts';
import { runPrompt } from './prompt.ts';

/** A prompt whose daemons know no sandbox. */
function prompted(input: PassThrough) {
  let printed = '';
  const nothing = async () => ({ locations: [], services: [], sandboxes: [] });
  const fleet = {
    vmNames: () => ['vm1'],
    look: { timeoutMs: 1000 },
    endpointOf: () => '10.0.0.1:1',
    sdn: () => ({ listLocations: nothing, listServices: nothing, locate: async () => ({}) }),
    vm: () => ({ list: nothing }),
    close: () => undefined,
  } as unknown as Fleet;
  const print = (text: string): void => {
    printed += text;
  };
  const failures = runPrompt(
    {
      fleet: async () => {
        await new Promise((resolve) => setTimeout(resolve, 20));
        return fleet;
      },
      print,
      progress: print,
      progressColumns: () => undefined,
      nowUnixMs: () => 0,
      interrupted: () => new AbortController().signal,
    },
    { input, output: new PassThrough(), isTerminal: false },
  );
  return { failures, printed: () => printed };
}

test('every line of piped input is carried out, though the input ends while the first one is', async () => {
  const input = new PassThrough();
  const { failures, printed } = prompted(input);
  input.end('ps\nservices\nlocations\n');
  assert.equal(await failures, 0);
  assert.match(printed(), /no sandboxes; start one[\s\S]*no services[\s\S]*no sandboxes\n$/);
});

test('what fails is said and counted, and the next line is carried out', async () => {
  const input = new PassThrough();
  const { failures, printed } = prompted(input);
  input.end(`nonsense\nterminate square\nstart "x\nservices\nquit\nps\n`);
  assert.equal(await failures, 3);
  assert.match(
    printed(),
    /unknown command 'nonsense'[\s\S]*no sandbox 'square' is known[\s\S]*not closed[\s\S]*no services\n$/,
  );
});

test('an example copied from a shell is understood, and what is mistyped is answered with what there is', async () => {
  const input = new PassThrough();
  const { failures, printed } = prompted(input);
  input.end('comicran smanager services\nservces\nps --jsn --json\n');
  assert.equal(await failures, 2);
  assert.match(
    printed(),
    /^no services\nunknown command 'servces'\n\(Did you mean services\?\)\n {2}next: .*ps, vms, services/,
  );
  assert.match(
    printed(),
    /Did you mean --json\?[\s\S]*'help ps' explains\.\n\{\n {2}"failed": \{\n {4}"code": "usage"/,
  );
});

test('exec, which needs the terminal, is refused with where it can be had', async () => {
  const input = new PassThrough();
  const { failures, printed } = prompted(input);
  input.end('exec square --with-host-tools -- sh -c "exit 1"\n');
  assert.equal(await failures, 1);
  assert.match(printed(), /^exec needs the terminal, .*\n {2}next: .*'comicran smanager exec NAME -- PROGRAM/);
});
