/* SPDX-License-Identifier: Apache-2.0 */
#include "machine.h"

#define PER_LINE 16

#if defined(__x86_64__)
#include <Zydis/Zydis.h>

/* Length of the instruction at code, its text in buf; 0 if it is none. */
static uint32_t decode(const uint8_t *code, uint32_t left, uint32_t at, char *buf, size_t len)
{
	ZydisDecodedOperand ops[ZYDIS_MAX_OPERAND_COUNT];
	ZydisDecodedInstruction in;
	ZydisFormatter fmt;
	ZydisDecoder dec;

	if (ZYAN_FAILED(ZydisDecoderInit(&dec, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64)) ||
	    ZYAN_FAILED(ZydisFormatterInit(&fmt, ZYDIS_FORMATTER_STYLE_INTEL)) ||
	    ZYAN_FAILED(ZydisDecoderDecodeFull(&dec, code, left, &in, ops)) ||
	    ZYAN_FAILED(ZydisFormatterFormatInstruction(&fmt, &in, ops, in.operand_count_visible,
							buf, len, at, ZYAN_NULL)))
		return 0;
	return in.length;
}
#else
static uint32_t decode(const uint8_t *code, uint32_t left, uint32_t at, char *buf, size_t len)
{
	uint32_t n = left < PER_LINE ? left : PER_LINE;

	for (uint32_t i = 0; i < n; i++)
		snprintf(buf + i * 3, len - i * 3, "%02x ", code[i]);
	return n;
}
#endif

void machine_print(FILE *f, const uint8_t *code, uint32_t size)
{
	char text[256];

	for (uint32_t at = 0; at < size;) {
		uint32_t n = decode(code + at, size - at, at, text, sizeof(text));

		if (!n) {
			snprintf(text, sizeof(text), "(byte 0x%02x)", code[at]);
			n = 1;
		}
		fprintf(f, "%6x: %s\n", at, text);
		at += n;
	}
}
