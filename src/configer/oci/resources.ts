/** `linux.resources` of a bundle: what all of its processes may use together. */
import type { LimitsSpec } from '../../base/sandbox-config.ts';
import type { Part } from './part.ts';
import type { Report } from './report.ts';

/** Ranges of version 1 and 2 of control groups, and how runc and crun convert between them. */
const SHARES = { least: 2, most: 262_144 };
const BLOCK_WEIGHT = { least: 10, most: 1000 };
const WEIGHT = { least: 1, most: 10_000 };
const DEFAULT_PERIOD_MICROS = 100_000;
const UNAVAILABLE = 'this limit is not available';
/** Major and minor numbers of devices that are in every /dev or are nobody's harm; null stands for any. */
const USUAL_DEVICES = ['1:3', '1:5', '1:7', '1:8', '1:9', '5:0', '5:1', '5:2', '136:null', '10:200'];

export function limitsOf(part: Part, report: Report): LimitsSpec {
  const limits: Record<string, number> = {
    ...memoryOf(part.part('memory'), report),
    ...cpuOf(part.part('cpu'), report),
    ...blockOf(part.part('blockIO'), report),
  };
  const pids = part.part('pids');
  const most = pids?.number('limit');
  pids?.end();
  if (most !== undefined && most > 0) limits['pids'] = most;
  else if (most !== undefined)
    report.note(part.at('pids.limit'), 'no limit: every sandbox has one, of 512 or what you write');
  devicesOf(part, report);
  part.refuse({
    hugepageLimits: UNAVAILABLE,
    rdma: UNAVAILABLE,
    network: 'its packets would have no class and no priority of their own',
    unified: 'the keys of control groups are limits in the full configuration',
  });
  part.end();
  return limits;
}

function scaled(value: number, from: { least: number; most: number }): number {
  const share = (Math.min(Math.max(value, from.least), from.most) - from.least) / (from.most - from.least);
  return Math.max(WEIGHT.least, Math.round(WEIGHT.least + share * (WEIGHT.most - WEIGHT.least)));
}

function memoryOf(part: Part | undefined, report: Report): LimitsSpec {
  if (part === undefined) return {};
  const memory = part.number('limit');
  if (memory !== undefined && memory <= 0)
    report.note(part.at('limit'), 'no limit: every sandbox has one, of 4 GiB or what you write');
  part.remark({
    swap: 'a sandbox has no swap in version 2 of control groups, and its limit counts it in version 1',
    reservation: 'a wish that the kernel need not keep',
    kernel: 'the memory of the kernel counts with the rest',
    kernelTCP: 'the memory of the kernel counts with the rest',
    swappiness: 'it is the same for everybody',
    useHierarchy: 'limits always count what is below',
    checkBeforeUpdate: 'limits are set before anything runs',
  });
  part.refuse({ disableOOMKiller: 'a sandbox without memory would stand still and not end' });
  part.end();
  return memory !== undefined && memory > 0 ? { memory } : {};
}

function cpuOf(part: Part | undefined, report: Report): LimitsSpec {
  if (part === undefined) return {};
  const shares = part.number('shares');
  const quota = part.number('quota');
  const period = part.number('period') || DEFAULT_PERIOD_MICROS;
  part.remark({ burst: 'what was not used is not saved up', idle: 'it is scheduled as everybody is' });
  part.refuse({
    cpus: 'it would run on other CPUs, too',
    mems: 'it would have memory of other nodes, too',
    realtimeRuntime: 'there is no time for real-time processes',
    realtimePeriod: 'there is no time for real-time processes',
  });
  part.end();
  if (quota !== undefined && quota > 0 && quota / period < 0.01)
    report.note(part.at('quota'), 'less than 1 per cent of a CPU: it gets 1');
  return {
    ...(shares === undefined || shares === 0 ? {} : { cpuWeight: scaled(shares, SHARES) }),
    ...(quota === undefined || quota <= 0 ? {} : { cpuPercent: Math.max(1, Math.floor((quota / period) * 100)) }),
  };
}

function blockOf(part: Part | undefined, report: Report): LimitsSpec {
  if (part === undefined) return {};
  const limits: Record<string, number> = {};
  const weight = part.number('weight');
  if (weight !== undefined && weight > 0) limits['ioWeight'] = scaled(weight, BLOCK_WEIGHT);
  const rates = { throttleReadBpsDevice: 'ioReadBytes', throttleWriteBpsDevice: 'ioWriteBytes' } as const;
  for (const [key, limit] of Object.entries(rates)) {
    const devices = part.parts(key);
    for (const [index, device] of devices.entries()) {
      const [major, minor, rate] = [device.number('major'), device.number('minor'), device.number('rate')];
      device.end();
      const disk = `device ${major}:${minor}`;
      if (index > 0 || rate === undefined || rate <= 0)
        report.error(device.path, `${disk}: there is one limit, for one disk`);
      else {
        limits[limit] = rate;
        report.note(device.path, `${disk}: it is for the disk that the state directory of each machine is on`);
      }
    }
  }
  part.remark({ leafWeight: 'a sandbox has no groups of its own' });
  part.refuse({
    weightDevice: UNAVAILABLE,
    throttleReadIOPSDevice: UNAVAILABLE,
    throttleWriteIOPSDevice: UNAVAILABLE,
  });
  part.end();
  return limits;
}

/** Rules for who may use which device. Nothing beyond the five of /dev can be used, whatever they say. */
function devicesOf(part: Part, report: Report): void {
  for (const rule of part.parts('devices')) {
    const allow = rule.flag('allow') ?? false;
    const [type, access] = [rule.text('type'), rule.text('access') ?? 'rwm'];
    const id = `${rule.number('major') ?? null}:${rule.number('minor') ?? null}`;
    rule.end();
    const harmless = access === 'm' || USUAL_DEVICES.includes(id);
    if (allow && !harmless) report.error(rule.path, `${type ?? 'a'} ${id} (${access}): it could use no such device`);
  }
}
