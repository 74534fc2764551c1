/**
 * Whether KVM can run the machines. A /dev/kvm can be there and not be able to run a stock kernel (in a virtual machine
 * whose host allows it half): so a kernel is started, and has to come to its first program in time.
 */
import { spawn } from 'node:child_process';
import { accessSync, constants, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ComicranError } from '../base/errors.ts';
import { CpioFile } from './cpio-file.ts';
import type { Packages } from './debian-packages.ts';
import { type Accelerator, QEMU, qemuWords } from './qemu-command.ts';

const PATIENCE_MS = 20_000;
const POLL_MS = 100;
const SAID = 'comicran probe: a kernel runs';

export type Chosen = { readonly accelerator: Accelerator /** For people. */; readonly why: string };

/** @param command of the first program */
function writeProbe(path: string, { busybox }: Packages): void {
  const archive = new CpioFile(path);
  archive.copy('/busybox', 0o755, busybox, readFileSync(busybox).length);
  archive.file('/init', 0o755, `#!/busybox sh\n/busybox echo '${SAID}'\n/busybox poweroff -f\n`);
  archive.end();
}

/** @returns undefined where a kernel has run; else why not. */
async function problemOfKvm(packages: Packages): Promise<string | undefined> {
  const directory = mkdtempSync(join(tmpdir(), 'comicran-kvm-'));
  const log = join(directory, 'log');
  const initramfs = join(directory, 'initramfs');
  writeProbe(initramfs, packages);
  const words = qemuWords(
    {
      ...{ name: 'probe', kernel: packages.kernel, initramfs, kernelWords: [], memoryMib: 256, cpu: undefined },
      ...{
        accelerator: 'kvm',
        links: [],
        disk: undefined,
        monitor: undefined,
        console: { log, socket: undefined },
      },
      clockAheadSeconds: 0,
    },
    Date.now(),
  );
  const child = spawn(QEMU, words, { stdio: ['ignore', 'ignore', 'pipe'] });
  let complaint = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    complaint += text;
  });
  const ended = new Promise<string>((resolve, reject) => {
    child.once('close', () => resolve(complaint.trim() || 'QEMU ended'));
    child.once('error', (cause) =>
      reject(
        new ComicranError('needs.tool', `${QEMU} cannot be started`, {
          cause,
          hint: "Install Debian's package qemu-system-x86.",
        }),
      ),
    );
  });
  const hasRun = (): boolean => existsSync(log) && readFileSync(log, 'latin1').includes(SAID);
  const late = Promise.withResolvers<string>();
  const deadline = performance.now() + PATIENCE_MS;
  const poll = setInterval(() => {
    if (hasRun()) late.resolve('');
    else if (performance.now() > deadline)
      late.resolve(`a stock kernel said nothing within ${PATIENCE_MS / 1000} s under KVM`);
  }, POLL_MS);
  try {
    const problem = await Promise.race([ended, late.promise]);
    return hasRun() ? undefined : problem;
  } finally {
    clearInterval(poll);
    child.kill('SIGKILL');
    rmSync(directory, { recursive: true, force: true });
  }
}

function isUsable(path: string): boolean {
  try {
    accessSync(path, constants.R_OK | constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

/**
 * KVM where it runs a stock kernel, else emulation. The answer of one probe holds until the machine is started again.
 *
 * @param cache directory for the answer. @param bootId of this machine. @throws ComicranError needs.tool: no QEMU
 */
export async function chooseAccelerator(
  packages: Packages,
  { cache, bootId, say }: { readonly cache: string; readonly bootId: string; readonly say: (text: string) => void },
): Promise<Chosen> {
  if (!isUsable('/dev/kvm')) return { accelerator: 'tcg', why: 'there is no /dev/kvm that can be used' };
  const file = join(cache, 'kvm-probe.json');
  const question = `${bootId} ${packages.release}`;
  try {
    const known = JSON.parse(readFileSync(file, 'utf8')) as Chosen & { readonly question: string };
    if (known.question === question) return known;
  } catch {
    // It has not been asked yet.
  }
  say(`trying KVM (${PATIENCE_MS / 1000} s at most)\n`);
  const problem = await problemOfKvm(packages);
  const chosen: Chosen =
    problem === undefined
      ? { accelerator: 'kvm', why: 'a stock kernel runs under KVM' }
      : { accelerator: 'tcg', why: problem };
  writeFileSync(file, `${JSON.stringify({ ...chosen, question })}\n`);
  return chosen;
}
