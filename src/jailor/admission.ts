/** Who may have a sandbox for a while beside its jailor: a migration, and programs that an operator starts in it. */
import { checkHospitable, checkMovable } from './permission.ts';
import type { RootWatch } from './root-watch.ts';
import type { Sandbox } from './sandbox.ts';

export class Admission {
  readonly #sandbox: Sandbox;
  readonly #watch: RootWatch;

  constructor(sandbox: Sandbox, watch: RootWatch) {
    this.#sandbox = sandbox;
    this.#watch = watch;
  }

  /**
   * A migration has begun, or has ended and left the process here. In between it is not restarted, frozen or looked at, and
   * nothing is started in it.
   * @throws ComicranError migration.refused, by what it is: frozen, restarting, or with guests; sandbox.not-running
   */
  async setMoving(moving: boolean): Promise<void> {
    const sandbox = this.#sandbox;
    if (!moving) {
      if (!sandbox.state.moving) return;
      sandbox.told.become({ moving });
      this.#watch.resumeLooks();
      return;
    }
    sandbox.checkNotEnding('moved');
    checkMovable(sandbox.state, Date.now());
    sandbox.told.become({ moving });
    await this.#watch.pauseLooks();
  }

  /**
   * Somebody is about to start a program in it.
   * @returns what is to be called when that has ended.
   * @throws ComicranError sandbox.not-running, migration.busy
   */
  admitGuest(): () => void {
    const sandbox = this.#sandbox;
    sandbox.checkNotEnding('looked into');
    checkHospitable(sandbox.state);
    sandbox.told.become({ guests: sandbox.state.guests + 1 });
    return () => {
      if (!sandbox.isEnding) sandbox.told.become({ guests: sandbox.state.guests - 1 });
    };
  }
}
