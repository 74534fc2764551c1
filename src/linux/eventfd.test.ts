import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DescriptorDirectory } from './descriptor-directory.ts';
import { addToEventfd, probeSemaphore } from './eventfd.ts';
import { parseEventfd } from './fdinfo.ts';
import { syscall } from './libc.ts';
import { closeDescriptor } from './pidfd.ts';
import { SYS } from './syscall-numbers.ts';

const EFD_SEMAPHORE = 1;

for (const semaphore of [false, true]) {
  for (const count of [0n, 1n, 2n, 3n, 17n]) {
    test(`an eventfd that holds ${count} and is ${semaphore ? 'a' : 'no'} semaphore is known as such, and keeps its count`, () => {
      const descriptor = syscall('eventfd2', SYS.eventfd2, 0, semaphore ? EFD_SEMAPHORE : 0);
      using directory = new DescriptorDirectory(process.pid);
      try {
        if (count > 0n) addToEventfd(descriptor, count);
        assert.equal(probeSemaphore(descriptor, count), semaphore);
        assert.equal(parseEventfd(directory.info(descriptor)).count, count);
      } finally {
        closeDescriptor(descriptor);
      }
    });
  }
}
