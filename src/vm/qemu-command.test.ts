import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Machine, qemuWords } from './qemu-command.ts';

const MACHINE: Machine = {
  name: 'vm1',
  kernel: '/boot/vmlinuz',
  initramfs: '/tmp/initramfs',
  kernelWords: ['quiet'],
  memoryMib: 1024,
  cpu: undefined,
  accelerator: 'tcg',
  links: [
    { tap: 'sdn-ue', mac: '02:00:0a:46:00:01' },
    { tap: 'sdn-vm1', mac: '02:00:0a:47:01:01' },
  ],
  disk: '/var/disk',
  monitor: '/run/a,b',
  console: { log: '/var/log/vm1', socket: '/run/console' },
  clockAheadSeconds: 0,
};

const behind = (words: readonly string[], word: string): string | undefined => words[words.indexOf(word) + 1];

test('a machine is started with its kernel, link, console and monitor', () => {
  const words = qemuWords(MACHINE, 0);
  assert.equal(behind(words, '-append'), 'console=ttyS0 panic=-1 quiet');
  assert.equal(behind(words, '-cpu'), 'max');
  assert.match(behind(words, '-netdev')!, /^tap,id=link0,ifname=sdn-ue,script=no,downscript=no/);
  assert.deepEqual(
    words.filter((word) => word.startsWith('virtio-net-pci')),
    [
      'virtio-net-pci,netdev=link0,mac=02:00:0a:46:00:01,romfile=',
      'virtio-net-pci,netdev=link1,mac=02:00:0a:47:01:01,romfile=',
    ],
  );
  assert.equal(behind(words, '-qmp'), 'unix:/run/a,,b,server=on,wait=off');
  assert.match(behind(words, '-drive')!, /file=\/var\/disk$/);
  assert.equal(behind(words, '-rtc'), 'base=utc');
});

test('CPU model, accelerator and clock are as asked', () => {
  const words = qemuWords({ ...MACHINE, accelerator: 'kvm', cpu: 'Nehalem', clockAheadSeconds: 90 }, 1000);
  assert.equal(behind(words, '-accel'), 'kvm');
  assert.equal(behind(words, '-cpu'), 'Nehalem');
  assert.equal(behind(words, '-rtc'), 'base=1970-01-01T00:01:31');
  assert.equal(behind(qemuWords({ ...MACHINE, accelerator: 'kvm' }, 0), '-cpu'), 'host');
});
