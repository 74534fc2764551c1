/**
 * What can go wrong and is nobody's bug: bad input, a full disk, a peer that died.
 *
 * Such a failure is thrown as a {@link ComicranError}: a closed code, a sentence that names the thing and the cause,
 * what to do next, and the error that caused it. It is reported once, where it is handled. What cannot happen is an
 * assert (`assert.ts`), not an error of this kind.
 */

/** Every code, with what it means to an operator. docs/errors.md is checked against this table. */
export const ERROR_CODES = {
  usage: 'The command line is not one that this program knows.',
  'needs.root': 'The command needs root.',
  'needs.linux': 'The command needs Linux on x86-64.',
  'needs.kernel': 'The kernel lacks a feature that the command needs.',
  'needs.tool': 'A program or library that the command needs is not installed.',
  'config.invalid': 'A configuration does not match its schema.',
  'config.missing-file': 'A configuration names a file that does not exist.',
  'config.bad-path': 'A configuration names a path that it must not name.',
  'config.symlink-loop': 'Symbolic links that a configuration leads to form a loop.',
  'config.changed-file': 'A file is not the one that the configuration was resolved with.',
  'elf.invalid': 'A file is not an ELF object that the dynamic linker would load.',
  'elf.missing-library': 'A shared library that an executable needs was not found.',
  'sandbox.exists': 'A sandbox of this name is there already.',
  'sandbox.unknown': 'No sandbox of this name is known.',
  'sandbox.not-running': 'The sandbox is not in a state in which this can be done.',
  'sandbox.setup-failed': 'A step of making the sandbox failed; what was made has been taken down.',
  'address.in-use': 'The address belongs to another sandbox.',
  'service.in-use': 'The service address and port belong to another sandbox.',
  'vm.unknown': 'No virtual machine of this name is known.',
  'vm.unreachable': 'The daemon of a virtual machine does not answer.',
  'sdn.unreachable': 'The sdn controller does not answer.',
  'ownership.lost': 'Another virtual machine owns the sandbox, or its epoch has moved on.',
  'peer.refused': 'The peer refused.',
  'peer.died': 'The connection to the peer broke.',
  'peer.protocol': 'The peer sent something that the protocol does not allow.',
  deadline: 'It took longer than allowed.',
  aborted: 'It was aborted on request.',
  'image.invalid': 'A process image is damaged, truncated or of an unknown version.',
  'image.kernel-mismatch': 'The process image comes from a kernel or CPU that this machine cannot stand in for.',
  'process.unsupported': 'The process has something that cannot be moved.',
  'process.gone': 'The process has ended.',
  'process.trace': 'A step of tracing or injecting into a process failed.',
  'migration.refused': 'The migration was refused before anything was changed.',
  'migration.failed': 'The migration failed; the sandbox runs where the message says.',
  'migration.busy': 'The sandbox is in another migration.',
  'replication.diverged': 'The copy answered differently from the original; nobody outside has noticed.',
  'replication.overrun': 'A packet was lost on its way into the copy: a full queue or a lost frame.',
  'replication.unsuitable': 'The process cannot be replicated, for the reason that the message names.',
  'replication.lagging': 'The copy did not catch up with the original in time.',
  'replication.ended': 'The copy ended before it could take over; the original runs on.',
  'migration.journal': 'The journal of a migration is damaged or of an unknown version.',
  'pki.invalid': 'A certificate or key is missing, damaged, expired or of another authority.',
  'lab.state': 'The lab is not in a state in which this can be done.',
} as const satisfies Record<string, string>;

export type ErrorCode = keyof typeof ERROR_CODES;

export type ErrorDetails = {
  /** What the operator can do next; a full sentence. */
  readonly hint?: string;
  readonly cause?: unknown;
};

export class ComicranError extends Error {
  override readonly name = 'ComicranError';
  readonly code: ErrorCode;
  readonly hint: string | undefined;

  /** @param message names the thing and the cause, without a final full stop. */
  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.hint = details.hint;
  }
}

export function isErrorCode(text: string): text is ErrorCode {
  return Object.hasOwn(ERROR_CODES, text);
}

/**
 * A failure as a program with --json tells it on standard output, for whoever reads nothing else: an object with `failed`.
 * @param more what it is about: `{ name: 'square' }`
 */
export function failureJson(thrown: unknown, more: object = {}): string {
  const known = thrown instanceof ComicranError ? thrown : undefined;
  const failed = {
    // What is no ComicranError here comes from the command line's parser.
    code: known?.code ?? 'usage',
    message: messageOf(thrown).replace(/^error: /, ''),
    hint: known?.hint ?? null,
  };
  return `${JSON.stringify({ ...more, failed }, null, 2)}\n`;
}

/** The message of anything thrown. */
export function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}

/** How a failure is shown to a person: the sentence, the chain of causes that adds something, and the next step. */
export function describeError(thrown: unknown): string {
  const lines = [messageOf(thrown)];
  let cause = thrown instanceof Error ? thrown.cause : undefined;
  for (let depth = 0; cause !== undefined && depth < 8; depth++) {
    const text = messageOf(cause);
    if (!lines.some((line) => line.includes(text))) lines.push(`  because: ${text}`);
    cause = cause instanceof Error ? cause.cause : undefined;
  }
  if (thrown instanceof ComicranError && thrown.hint !== undefined) lines.push(`  next: ${thrown.hint}`);
  return lines.join('\n');
}
