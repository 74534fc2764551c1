/** What becomes of each key of a bundle that does not simply carry over, by its path: `linux.resources.cpu.cpus`. */

/**
 * `error`: the sandbox would be weaker than it promises, or than the bundle asks for, or its program would lack something.
 * `note`: the sandbox is as strict or stricter, or it makes no difference to the program.
 */
export type Finding = { readonly kind: 'error' | 'note'; readonly path: string; readonly problem: string };

const SHOWN_CHARACTERS = 120;

/** Whatever stands in a bundle may stand in a message about it. */
export function shown(value: unknown): string {
  const text = typeof value === 'string' ? value : (JSON.stringify(value) ?? String(value));
  const printable = text.replaceAll(/\p{Cc}/gu, '\ufffd');
  return printable.length <= SHOWN_CHARACTERS ? printable : `${printable.slice(0, SHOWN_CHARACTERS)}…`;
}

export class Report {
  readonly findings: Finding[] = [];
  readonly #ignored: readonly string[];
  readonly #used = new Set<string>();

  /** @param ignored paths of keys that the operator does without: with what is in them. */
  constructor(ignored: readonly string[] = []) {
    this.#ignored = ignored;
  }

  /** @param problem what is the matter, or what the key would have done; without a full stop. */
  error(path: string, problem: string): void {
    const by = this.#ignored.find((key) => path === key || path.startsWith(`${key}.`) || path.startsWith(`${key}[`));
    if (by !== undefined) this.#used.add(by);
    const ignored = by !== undefined;
    this.findings.push({ kind: ignored ? 'note' : 'error', path, problem: ignored ? `ignored: ${problem}` : problem });
  }

  note(path: string, problem: string): void {
    this.findings.push({ kind: 'note', path, problem });
  }

  of(kind: Finding['kind']): Finding[] {
    return this.findings.filter((one) => one.kind === kind);
  }

  /** What is ignored for nothing may be misspelt. */
  nameUnused(): void {
    const problem = 'it is to be ignored, and there is nothing to ignore';
    for (const path of this.#ignored) if (!this.#used.has(path)) this.findings.push({ kind: 'error', path, problem });
  }
}
