/** Reporter of `node --test`: a line a test and a file, every failure whole, and as the last line `N passed, N failed`. */
import { relative } from 'node:path';
import type { TestEvent } from 'node:test/reporters';

const inspectError = (error: unknown): string => {
  const cause = error instanceof Error && error.cause !== undefined ? error.cause : error;
  if (!(cause instanceof Error)) return String(cause);
  return cause.stack ?? cause.message;
};

export default async function* reporter(source: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  let passed = 0;
  let failed = 0;
  let skipped = 0;
  const stack: string[] = [];
  for await (const event of source) {
    switch (event.type) {
      case 'test:start':
        stack.length = event.data.nesting;
        stack.push(event.data.name);
        break;
      case 'test:pass':
        if (event.data.details.type === 'suite') break;
        if (event.data.skip !== undefined && event.data.skip !== false) {
          skipped++;
          yield `  skipped  ${event.data.name}: ${event.data.skip}\n`;
        } else {
          passed++;
          yield `  ok       ${event.data.name} (${Math.round(event.data.details.duration_ms)} ms)\n`;
        }
        break;
      case 'test:fail': {
        if (event.data.details.type === 'suite' && /subtests? failed/.test(event.data.details.error.message)) break;
        failed++;
        const where = event.data.file === undefined ? '' : ` at ${event.data.file}:${event.data.line}`;
        yield `  FAILED   ${event.data.name}${where}\n${inspectError(event.data.details.error).replace(/^/gm, '           ')}\n`;
        break;
      }
      case 'test:summary':
        // Without a file: of all.
        if (event.data.file === undefined) break;
        yield `${relative('', event.data.file)} (${(event.data.duration_ms / 1000).toFixed(1)} s)\n`;
        break;
      case 'test:stderr':
      case 'test:stdout':
        yield event.data.message;
        break;
      default:
    }
  }
  yield `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}\n`;
}
