import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rehearsal, type RehearsalOptions, type RehearsalSource } from './rehearsal.ts';

/** Notes what is done, in order. */
class Stage {
  readonly done: string[] = [];
  readonly #failing: ReadonlySet<string>;

  /** @param failing steps that throw when they are done */
  constructor(...failing: string[]) {
    this.#failing = new Set(failing);
  }

  rehearsal(): Rehearsal {
    const processes: RehearsalOptions['processes'] = { pids: [11, 12], close: () => this.#do('end the processes') };
    return new Rehearsal({ processes, open: (pid) => this.#open(pid) });
  }

  #open(pid: number): RehearsalSource {
    this.#do(`open ${pid}`);
    return {
      freeze: () => {
        this.#do('freeze');
        return { resume: () => this.#do('resume') };
      },
      snapshot: () => {
        this.#do('snapshot');
        return { close: () => this.#do('close the snapshot') };
      },
      close: () => this.#do('close'),
    };
  }

  #do(step: string): void {
    this.done.push(step);
    if (this.#failing.has(step)) throw new Error(`${step} fails`);
  }
}

test('it stops the first of its processes in the way of the stop that counts, and lets it run again', () => {
  const stage = new Stage();
  const rehearsal = stage.rehearsal();
  rehearsal.run(false);
  assert.deepEqual(stage.done, ['open 11', 'freeze', 'resume']);
  rehearsal.run(true);
  assert.deepEqual(stage.done.slice(3), ['snapshot', 'close the snapshot'], 'the process is opened once');
});

for (const failing of ['open 11', 'freeze', 'snapshot']) {
  test(`when "${failing}" fails nobody hears of it, and nothing is rehearsed again`, () => {
    const stage = new Stage(failing);
    const rehearsal = stage.rehearsal();
    rehearsal.run(failing === 'snapshot');
    const before = [...stage.done];
    assert.equal(before.at(-1), failing);
    rehearsal.run(failing === 'snapshot');
    assert.deepEqual(stage.done, before);
    rehearsal.close();
    const opened = failing !== 'open 11';
    assert.deepEqual(stage.done.slice(before.length), opened ? ['close', 'end the processes'] : ['end the processes']);
  });
}

test('the processes end with it, also where nothing was rehearsed; closed, it does nothing more', () => {
  const stage = new Stage();
  {
    using rehearsal = stage.rehearsal();
    rehearsal.close();
    rehearsal.run(true);
    rehearsal.run(false);
  }
  assert.deepEqual([...new Set(stage.done)], ['end the processes']);
});

test('without processes it does nothing', () => {
  const rehearsal = new Rehearsal({ processes: null, open: () => assert.fail('there is nothing to open') });
  rehearsal.run(false);
  rehearsal.run(true);
  rehearsal.close();
});
