import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkPlatform, type Platform } from './platform.ts';

const platform: Platform = {
  kernelRelease: '6.1.0',
  kernelVersion: '#1',
  vdsoDigest: 'aa',
  cpuFeatures: ['avx2', 'sse2'],
};

test('equal machines are accepted, and one with a harmless feature more', () => {
  checkPlatform(platform, platform);
  checkPlatform(platform, { ...platform, cpuFeatures: ['avx2', 'rdpid', 'sse2'] });
});

test('another kernel, a lacking feature and more saved state are refused, naming what differs', () => {
  const refuses = (other: Partial<Platform>, pattern: RegExp): void =>
    void assert.throws(() => checkPlatform(platform, { ...platform, ...other }), pattern);
  refuses({ kernelRelease: '6.2.0' }, /6\.1\.0 .* 6\.2\.0/);
  refuses({ kernelVersion: '#2' }, /#1.*#2/);
  refuses({ vdsoDigest: 'bb' }, /vDSOs for CPUs of different kinds/);
  refuses({ vdsoDigest: 'bb', cpuFeatures: ['sse2'] }, /lacks avx2/);
  refuses({ cpuFeatures: ['sse2'] }, /lacks avx2/);
  refuses({ cpuFeatures: ['avx2', 'avx512f', 'sse2'] }, /saves more state \(avx512f\)/);
});
