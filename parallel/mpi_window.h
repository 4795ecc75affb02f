// The memory that MPI ranks of one node share (MPI 3.1, 11.2.3), and the loans of blocks in it.
// Includes mpi.h: for .cc files that call MPI only.
#pragma once

#include <map>
#include <memory>
#include <vector>

#include "parallel/mpi_call.h"
#include "parallel/shared_region.h"

namespace annulus::parallel {

class MpiWindow;

// What a rank shares at present; of its world and all groups split from it.
struct MpiMemory {
  MpiWindow* window = nullptr;
};

// What a lender sends of a block.
struct LoanNote {
  int64_t offset = 0;  // from the beginning of the lender's part of the window
  int64_t bytes = 0;
};

// This rank's part and, mapped beside it, those of the others.
class MpiWindow final : public SharedRegion {
 public:
  // Collective over `node`, whose ranks can share memory, and takes it over; `world_ranks` are its
  // ranks. Throws SystemError naming the size.
  static std::unique_ptr<MpiWindow> Reserve(MPI_Comm node, const std::vector<int>& world_ranks,
                                            int64_t bytes, std::shared_ptr<MpiMemory> memory);
  ~MpiWindow() override;

  // Of a block of this rank. Requires that it lies in the window.
  LoanNote NoteOf(const void* block, int64_t bytes) const;
  // The block of the peer. Requires that it lies in the peer's part.
  const void* AddressOf(int world_rank, const LoanNote& note) const;
  // Orders what this rank wrote and read in the window before what follows, also for its peers.
  void Sync() const;

  int64_t peer_bytes_mapped() const override;

 private:
  struct Part {
    const char* base;
    int64_t bytes;
  };
  struct Mapping {
    MPI_Win win;
    void* base;
  };

  MpiWindow(MPI_Comm node, const Mapping& mapping, int64_t bytes,
            std::shared_ptr<MpiMemory> memory);

  MPI_Comm node_;
  MPI_Win win_;
  const char* base_;
  std::shared_ptr<MpiMemory> memory_;
  std::map<int, Part> parts_;  // of the peers, by rank of the world
};

}  // namespace annulus::parallel
