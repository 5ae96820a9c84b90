/** Architectures. */

/** 0 all, 1 amd64, 2 aarch64, 3 x86: the numbers of the admin API. */
export const ARCH = { all: 0, amd64: 1, aarch64: 2, x86: 3 } as const;
export type Arch = (typeof ARCH)[keyof typeof ARCH];
