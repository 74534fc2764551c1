/** A mapping of a bundle's config.json, of which every key must be taken: what is left at the end is named. */
import { type Report, shown } from './report.ts';

export class Part {
  readonly path: string;
  readonly #value: Readonly<Record<string, unknown>>;
  readonly #taken = new Set<string>();
  readonly #report: Report;

  private constructor(value: Readonly<Record<string, unknown>>, path: string, report: Report) {
    this.#value = value;
    this.path = path;
    this.#report = report;
  }

  /** @returns undefined after a finding: it is no mapping. */
  static of(value: unknown, path: string, report: Report): Part | undefined {
    if (typeof value === 'object' && value !== null && !Array.isArray(value))
      return new Part(value as Record<string, unknown>, path, report);
    report.error(path, `${shown(value)} is not a mapping`);
    return undefined;
  }

  at(key: string): string {
    return this.path === '' ? key : `${this.path}.${key}`;
  }

  /** Programs written in Go write null for what is not there. */
  take(key: string): unknown {
    this.#taken.add(key);
    const value = Object.hasOwn(this.#value, key) ? this.#value[key] : undefined;
    return value ?? undefined;
  }

  text(key: string): string | undefined {
    return this.#typed(key, 'text', (value) => (typeof value === 'string' ? value : undefined));
  }

  number(key: string): number | undefined {
    return this.#typed(key, 'a number', (value) => (typeof value === 'number' ? value : undefined));
  }

  flag(key: string): boolean | undefined {
    return this.#typed(key, 'true or false', (value) => (typeof value === 'boolean' ? value : undefined));
  }

  texts(key: string): readonly string[] {
    const isList = (value: unknown): value is string[] =>
      Array.isArray(value) && value.every((one) => typeof one === 'string');
    return this.#typed(key, 'a list of text', (value) => (isList(value) ? value : undefined)) ?? [];
  }

  numbers(key: string): readonly number[] {
    const isList = (value: unknown): value is number[] =>
      Array.isArray(value) && value.every((one) => typeof one === 'number');
    return this.#typed(key, 'a list of numbers', (value) => (isList(value) ? value : undefined)) ?? [];
  }

  part(key: string): Part | undefined {
    const value = this.take(key);
    return value === undefined ? undefined : Part.of(value, this.at(key), this.#report);
  }

  parts(key: string): readonly Part[] {
    const items = this.#typed(key, 'a list', (value) => (Array.isArray(value) ? (value as unknown[]) : undefined));
    return (items ?? []).flatMap((item, index) => Part.of(item, `${this.at(key)}[${index}]`, this.#report) ?? []);
  }

  keys(): readonly string[] {
    return Object.keys(this.#value);
  }

  /** Keys that mean something else than the default cannot be kept. @param why what each would have done. */
  refuse(why: Readonly<Record<string, string>>): void {
    for (const [key, effect] of Object.entries(why)) {
      const value = this.take(key);
      if (value !== undefined && !isEmpty(value)) this.#report.error(this.at(key), `${shown(value)}: ${effect}`);
    }
  }

  /** Keys that are not needed, or that the sandbox is stricter about. */
  remark(why: Readonly<Record<string, string>>): void {
    for (const [key, effect] of Object.entries(why)) {
      const value = this.take(key);
      if (value !== undefined && !isEmpty(value)) this.#report.note(this.at(key), effect);
    }
  }

  /** Names what nobody has taken. */
  end(): void {
    for (const key of this.keys())
      if (!this.#taken.has(key)) this.#report.error(this.at(shown(key)), 'a key that this program does not know');
  }

  #typed<T>(key: string, what: string, convert: (value: unknown) => T | undefined): T | undefined {
    const value = this.take(key);
    if (value === undefined) return undefined;
    const result = convert(value);
    if (result === undefined) this.#report.error(this.at(key), `${shown(value)} is not ${what}`);
    return result;
  }
}

function isEmpty(value: unknown): boolean {
  if (value === false || value === '' || value === 0) return true;
  return typeof value === 'object' && value !== null && Object.keys(value).length === 0;
}
