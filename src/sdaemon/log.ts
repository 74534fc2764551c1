/** One line an event on stderr, with the time: what journald and the lab's log files keep. */
export type Log = (text: string) => void;

export function stderrLog(now: () => Date): Log {
  return (text) => void process.stderr.write(`${now().toISOString()} ${text}\n`);
}
