/** Places at which a test can make the engine fail. In production nothing happens there. */

const STOPPED_FAULTS = [
  'inspect.process',
  'inspect.descriptors',
  'freeze.surveyed',
  'freeze.seized',
  'freeze.stopped',
  'freeze.complete',
  'capture.threads',
  'capture.agent-installed',
  'capture.thread-calls',
] as const;

/** Every step of a capture, in its order. */
export const CAPTURE_FAULTS = [
  ...STOPPED_FAULTS,
  'capture.process-calls',
  'capture.agent-removed',
  'capture.descriptors',
  'capture.memory',
  'capture.pages',
  'capture.encoded',
] as const;

/** Every step of a snapshot, in its order. */
export const SNAPSHOT_FAULTS = [
  ...STOPPED_FAULTS,
  'capture.cloned',
  'capture.process-calls',
  'capture.agent-removed',
  'capture.descriptors',
  'snapshot.released',
  'snapshot.separated',
  'capture.memory',
  'snapshot.pages',
  'snapshot.encoded',
] as const;

export type CaptureFault = (typeof CAPTURE_FAULTS)[number] | (typeof SNAPSHOT_FAULTS)[number];

export type Faults<Point extends string> = {
  /** Called when a step has been done. What it throws is treated like any other failure of the step. */
  readonly reach: (point: Point) => void;
};

export const NO_FAULTS: Faults<string> = { reach: () => undefined };
