/**
 * How the memory of a process that runs on is had as it was at one moment. `fork`: from a clone; the longer the more memory
 * there is. `tracked`: copied beforehand, while the process runs, and in the moment itself what it has written since.
 */
export type SnapshotWay = 'fork' | 'tracked';

export type SnapshotChoice = {
  readonly way: SnapshotWay;
  /** For people: "it has 1.0 GiB of memory". */
  readonly why: string;
};
