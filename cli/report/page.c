/* SPDX-License-Identifier: MIT */
/*
 * The page, in as much detail as it has room for.
 */
#include "page.h"

/* From the finest to the coarsest. */
static const struct report_quality qualities[] = {
    {1024, 384, 8, 4096, 512, 1024}, {1024, 384, 5, 4096, 512, 1024},
    {1024, 192, 5, 3072, 512, 1024}, {512, 192, 5, 2048, 256, 1024},
    {512, 192, 4, 1024, 256, 1024},  {512, 96, 4, 1024, 256, 1024},
    {256, 96, 4, 512, 128, 512},     {256, 48, 4, 256, 64, 512},
    {128, 48, 4, 128, 64, 256},      {64, 24, 4, 64, 32, 128},
    {32, 24, 3, 16, 16, 64},
};

bool report_page(const struct report_trace *traces, size_t count, struct report_buffer *page)
{
    for (size_t i = 0; i < sizeof qualities / sizeof qualities[0]; i++) {
        struct report_buffer data = {NULL, 0, 0}, packed = {NULL, 0, 0};
        report_encode(traces, count, &qualities[i], &data);
        report_put_packed(&packed, &data);
        report_put(page, report_page_head, report_page_head_size);
        report_put_base64(page, &packed);
        report_put(page, report_page_tail, report_page_tail_size);
        report_buffer_free(&data);
        report_buffer_free(&packed);
        if (page->count <= REPORT_PAGE_MOST)
            return true;
        page->count = 0;
    }
    return false;
}
