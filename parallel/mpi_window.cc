#include "parallel/mpi_window.h"

#include <string>

#include "parallel/resident_bytes.h"

namespace annulus::parallel {
namespace {

// Parts begin where tensors may.
constexpr int64_t kAlignment = 64;

std::string Here() { return "this rank"; }

char* Aligned(void* base) {
  const auto address = reinterpret_cast<uintptr_t>(base);
  return static_cast<char*>(base) + (kAlignment - address % kAlignment) % kAlignment;
}

}  // namespace

std::unique_ptr<MpiWindow> MpiWindow::Reserve(MPI_Comm node, const std::vector<int>& world_ranks,
                                              int64_t bytes, std::shared_ptr<MpiMemory> memory) {
  Check(memory->window == nullptr, "a rank shares one region of memory at a time");
  const auto where = [bytes] { return fmt::format("sharing {} bytes of memory", bytes); };
  MPI_Info info = MPI_INFO_NULL;
  CheckMpi(MPI_Info_create(&info), "MPI_Info_create", where);
  // Each part on pages of its own, where its rank touches it first.
  CheckMpi(MPI_Info_set(info, "alloc_shared_noncontig", "true"), "MPI_Info_set", where);
  Mapping mapping{};
  CheckMpi(MPI_Win_allocate_shared(bytes + kAlignment, 1, info, node, &mapping.base, &mapping.win),
           "MPI_Win_allocate_shared", where);
  MPI_Info_free(&info);
  CheckMpi(MPI_Win_set_errhandler(mapping.win, MPI_ERRORS_RETURN), "MPI_Win_set_errhandler", where);
  std::unique_ptr<MpiWindow> window(new MpiWindow(node, mapping, bytes, std::move(memory)));
  int own = 0;
  CheckMpi(MPI_Comm_rank(node, &own), "MPI_Comm_rank", where);
  for (size_t rank = 0; rank < world_ranks.size(); ++rank) {
    if (static_cast<int>(rank) == own) continue;
    MPI_Aint size = 0;
    int unit = 0;
    void* base = nullptr;
    CheckMpi(MPI_Win_shared_query(mapping.win, static_cast<int>(rank), &size, &unit, &base),
             "MPI_Win_shared_query", where);
    window->parts_.emplace(world_ranks[rank],
                           Part{static_cast<const char*>(base), static_cast<int64_t>(size)});
  }
  // One epoch for the window's life: who reads when is agreed by messages.
  CheckMpi(MPI_Win_lock_all(MPI_MODE_NOCHECK, mapping.win), "MPI_Win_lock_all", where);
  return window;
}

MpiWindow::MpiWindow(MPI_Comm node, const Mapping& mapping, int64_t bytes,
                     std::shared_ptr<MpiMemory> memory)
    : SharedRegion(Aligned(mapping.base), bytes),
      node_(node),
      win_(mapping.win),
      base_(static_cast<const char*>(mapping.base)),
      memory_(std::move(memory)) {
  memory_->window = this;
}

MpiWindow::~MpiWindow() {
  memory_->window = nullptr;
  if (Unwinding()) return;
  MPI_Win_unlock_all(win_);
  MPI_Win_free(&win_);
  MPI_Comm_free(&node_);
}

LoanNote MpiWindow::NoteOf(const void* block, int64_t bytes) const {
  const int64_t offset = static_cast<const char*>(block) - base_;
  const int64_t end = static_cast<const char*>(data()) + this->bytes() - base_;
  Check(offset >= 0 && bytes <= end - offset,
        "a block is lent that does not lie in the memory that is shared");
  return {offset, bytes};
}

const void* MpiWindow::AddressOf(int world_rank, const LoanNote& note) const {
  const auto found = parts_.find(world_rank);
  Check(found != parts_.end(), "rank {} lends a block of no memory shared here", world_rank);
  const Part& part = found->second;
  Check(note.offset >= 0 && note.bytes <= part.bytes - note.offset,
        "rank {} lends a block past the memory that it shares", world_rank);
  return part.base + note.offset;
}

void MpiWindow::Sync() const { CheckMpi(MPI_Win_sync(win_), "MPI_Win_sync", Here); }

int64_t MpiWindow::peer_bytes_mapped() const {
  int64_t bytes = 0;
  for (const auto& [rank, part] : parts_) bytes += ResidentBytes(part.base, part.bytes);
  return bytes;
}

}  // namespace annulus::parallel
