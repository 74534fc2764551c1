/** Places at which a test can make a restore fail. In production nothing happens there. */

/** Every step of a restore, in its order. */
export const RESTORE_FAULTS = [
  'restore.checked',
  'restore.hatched',
  'restore.executed',
  'restore.cleared',
  'restore.mapped',
  'restore.described',
  'restore.threads',
  'restore.begun',
  'restore.pages',
  'restore.completed',
  'restore.registers',
  'restore.stopped',
] as const;

export type RestoreFault = (typeof RESTORE_FAULTS)[number];

export type RestoreFaults = {
  /** Called when a step has been done. What it throws is treated like any other failure of the step. */
  readonly reach: (point: RestoreFault) => void;
};

export const NO_RESTORE_FAULTS: RestoreFaults = { reach: () => undefined };
