import { exportedFunction, libc } from './libc.js';

/*
 * The part of libcrypto that encrypts, as the node program exports it. node:crypto does the same at 3 to 8 µs a
 * call more. Pointers are numbers: they cost a third of what a Buffer costs as an argument.
 * Sources: OpenSSL man EVP_EncryptInit(3); addresses of a process are below 2^47, so that numbers hold them.
 */

/** `EVP_CTRL_AEAD_GET_TAG` and `EVP_CTRL_AEAD_SET_TAG`. Source: openssl/evp.h. */
export const GET_TAG = 0x10;
export const SET_TAG = 0x11;

/** Functions of libcrypto; each returns 1 where it did its work. Null pointers are 0. */
export interface Libcrypto {
  /** A new context for this cipher, such as `AES-128-GCM`. @throws where there is no such cipher. */
  newContext(cipher: string, isEncrypting: boolean): number;
  init(context: number, key: number, nonce: number, isEncrypting: 0 | 1): number;
  update(context: number, out: number, outLength: number, input: number, length: number): number;
  final(context: number, out: number, outLength: number): number;
  control(context: number, command: number, size: number, at: number): number;
}

/** Memory that stays where it is, with its address; it must be kept for as long as the address is used. */
export interface FixedBytes {
  readonly bytes: Buffer;
  /** 0 where libcrypto can't be called. */
  readonly address: number;
}

let loaded: Libcrypto | 'none' | undefined;

/** libcrypto; undefined where this node program does not export it, or loads no addons. */
export function libcrypto(): Libcrypto | undefined {
  loaded ??= load() ?? 'none';
  return loaded === 'none' ? undefined : loaded;
}

/** New memory that does not move; its content is undefined. */
export function fixedBytes(length: number): FixedBytes {
  const bytes = Buffer.allocUnsafeSlow(length);
  return { bytes, address: libcrypto() === undefined ? 0 : Number(libc().address(bytes)) };
}

function load(): Libcrypto | undefined {
  try {
    const call = (prototype: string) => exportedFunction(prototype) as (...args: unknown[]) => number;
    const fetchCipher = exportedFunction('void *EVP_CIPHER_fetch(void *context, str name, str properties)');
    const newContext = exportedFunction('uintptr_t EVP_CIPHER_CTX_new()');
    const initWith = call(
      'int EVP_CipherInit_ex(uintptr_t ctx, void *cipher, void *engine, void *key, void *iv, int enc)',
    );
    const init = call(
      'int EVP_CipherInit_ex(uintptr_t ctx, uintptr_t cipher, uintptr_t engine, uintptr_t key, uintptr_t iv, int enc)',
    );
    return {
      newContext: (cipher, isEncrypting) => {
        const fetched = fetchCipher(null, cipher, null);
        const context = Number(newContext());
        if (
          !fetched ||
          context === 0 ||
          initWith(context, fetched, null, null, null, isEncrypting ? 1 : 0) !== 1
        )
          throw new Error(`libcrypto has no ${cipher}`);
        return context;
      },
      init: (context, key, nonce, isEncrypting) => init(context, 0, 0, key, nonce, isEncrypting),
      update: call(
        'int EVP_CipherUpdate(uintptr_t ctx, uintptr_t out, uintptr_t outl, uintptr_t in, int length)',
      ),
      final: call('int EVP_CipherFinal_ex(uintptr_t ctx, uintptr_t out, uintptr_t outl)'),
      control: call('int EVP_CIPHER_CTX_ctrl(uintptr_t ctx, int command, int size, uintptr_t at)'),
    };
  } catch {
    return undefined;
  }
}
